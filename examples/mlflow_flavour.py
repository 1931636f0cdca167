"""A model file as an MLflow model, which `mlflow models serve` serves: it is asked by paths of images. No pickle."""

import mlflow.pyfunc

from msde import AnomalyModel


class MSDEFlavour(mlflow.pyfunc.PythonModel):
    def load_context(self, context) -> None:
        self.model = AnomalyModel.load(context.artifacts["model"])

    def predict(self, context, model_input: list[str], params=None) -> list[dict]:
        return [score.row() for score in self.model.score(list(model_input))]


def save(model_file: str, folder: str) -> None:
    artifacts = {"model": model_file}
    mlflow.pyfunc.save_model(folder, python_model=__file__, artifacts=artifacts, pip_requirements=["msde"])


mlflow.models.set_model(MSDEFlavour())
