"""What a study tells of how it differs from the paper's."""

from wfdm.config.cohort import PhantomDataset, PhantomSource, SplitSettings
from wfdm.config.denoisers import DenoiserSettings, DenoiserTraining
from wfdm.config.evaluation import EvaluationSettings
from wfdm.config.features import FeatureSettings
from wfdm.config.preprocess import PreprocessSettings
from wfdm.config.study import COMPRESSORS, GENERATORS, Study
from wfdm.config.volumes import VolumeSettings
from wfdm.tables.differences import differences


def test_the_papers_study_differs_in_nothing_and_a_demo_says_how():
    assert differences(Study()) == ""
    demo = Study(
        sources=[
            PhantomSource(
                kind="phantom",
                datasets=[
                    PhantomDataset(
                        name="A", people=1, modalities={"T1w": 1.0}, voxel_mm=(1.0, 1.0, 1.0)
                    )
                ],
            )
        ],
        volume=VolumeSettings(shape=(128, 160, 128)),
        preprocess=PreprocessSettings(spacing=2.0),
        evaluation=EvaluationSettings(features=FeatureSettings(depth=10, weights=None)),
    )
    told = differences(demo)
    for word in ("phantom", "128x160x128", "2 mm", "stand-in"):
        assert word in told
    assert "training" not in told
    leaking = Study(split=SplitSettings(rule="published"))
    assert "leaks people" in differences(leaking)


def test_a_difference_is_of_settings_and_not_of_words():
    told = "sizes or training of the models are not the paper's"
    compressor, generator = COMPRESSORS["wf-sa-vae"], GENERATORS["wfdm"]

    def study(**rows):
        return differences(Study(**rows))

    reworded = compressor.model_copy(update={"label": "Another name"})
    assert study(compressors=COMPRESSORS | {"wf-sa-vae": reworded}) == ""
    assert study(compressors=COMPRESSORS | {"another": reworded}) == ""
    training = compressor.training.model_copy(update={"steps": 7})
    shorter = compressor.model_copy(update={"training": training})
    assert study(compressors=COMPRESSORS | {"wf-sa-vae": shorter}) == told
    denoiser = DenoiserSettings(compressor="wf-sa-vae", training=DenoiserTraining(steps=7))
    assert study(denoisers={"wfdm": denoiser}) == told
    fewer = generator.model_copy(update={"steps": 7})
    assert study(generators=GENERATORS | {"wfdm": fewer}) == told
