#!/usr/bin/env bash
# Tries the README's two commands on an empty Debian, which has python3, venv, git and make and nothing beyond.
# Needs root, debootstrap and 5 GB in the folder that it is given; takes the clone's last commit, and of this machine
# how pip reaches its index. The folder can be removed afterwards.
set -euo pipefail
folder=$(realpath -m "${1:?give a folder that does not exist yet}")
release=${2:-bookworm}
clone=$(realpath "$(dirname "$0")/..")

debootstrap --variant=minbase --include=ca-certificates,git,make,python3,python3-venv "$release" "$folder" > /dev/null
cp /etc/resolv.conf /etc/hosts "$folder/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/"
for file in /etc/pip.conf "$HOME/.config/pip/pip.conf"; do
    if [ -f "$file" ]; then
        mkdir -p "$folder$(dirname "$file")"
        cp "$file" "$folder$file"
    fi
done
git clone --quiet --bare "$clone" "$folder/msde.git"

# What is mounted goes with the process that sees it.
unshare --mount --pid --fork --kill-child bash -euc '
    mount -t proc proc "$1/proc"
    mount --rbind /dev "$1/dev"
    exec chroot "$1" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin bash -euc "$2"
' bash "$folder" '
    echo "PATH=$PATH"
    python3 --version
    echo "$(dpkg-query --show | wc -l) packages"
    for program in pip gcc chromium psql initdb Orthanc dciodvfy nginx; do
        ! command -v "$program" || { echo "$program is there"; exit 1; }
    done
    ! python3 -c "import numpy" 2> /dev/null || { echo "NumPy is there"; exit 1; }
    git clone --quiet /msde.git /msde
    cd /msde
    time make demo
    time make test
    du --summarize --human-readable .venv
'
