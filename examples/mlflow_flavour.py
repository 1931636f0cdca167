"""A model file as an MLflow model, which `mlflow models serve` serves: it is asked by paths of images."""

import mlflow.pyfunc

from msde import AnomalyModel


class MSDEFlavour(mlflow.pyfunc.PythonModel):
    def load_context(self, context) -> None:
        self.model = AnomalyModel.load(context.artifacts["model"])

    def predict(self, context, model_input, params=None) -> list[dict]:
        paths = model_input["path"] if hasattr(model_input, "columns") else model_input
        return [score.row() for score in self.model.score(list(paths))]


def save(model_file: str, folder: str) -> None:
    mlflow.pyfunc.save_model(
        folder, python_model=MSDEFlavour(), artifacts={"model": model_file}, pip_requirements=["msde"]
    )
