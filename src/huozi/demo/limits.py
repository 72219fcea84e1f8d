"""What the demo does not show, said in its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from huozi.demo import water
from huozi.demo.data import SAME_DENSITY, SAME_TEMPERATURE, is_water
from huozi.dynamics.observables import yeh_hummer_correction
from huozi.dynamics.observables.diffusion import CM2_S

if TYPE_CHECKING:
    from huozi.demo.story import Story


def of(story: Story) -> list[str]:
    """Limitations of this run, one paragraph each."""
    size, config = story.trained.model.cutoff, story.config
    texts = [
        "The potential is at best as good as the quantum mechanics that labelled its data; the "
        "errors above say how well it repeats those labels, not how well they agree with nature.",
        f"Test frames come from the same source as the training frames. Where the simulation goes "
        f"elsewhere, the errors may be larger, and the model does not say so. Interactions beyond "
        f"{size:g} Å are left out.",
        "Nuclei move classically.",
        f"{config.picoseconds:g} ps of {len(story.system)} atoms are a short run of a small box. "
        "The standard errors account for the length of this one run, not for the box, nor for the "
        "choice of its start.",
    ]
    if not story.summary["virials"]:
        texts.append(
            "The data have no stress or virial, so the pressure was never trained on; do not "
            "trust it further than the forces imply."
        )
    if box_is_told(story):
        edge = story.system.volume ** (1 / 3)
        gain = yeh_hummer_correction(config.temperature, water.VISCOSITY, edge) * CM2_S * 1e5
        texts.append(
            f"A box of {edge:.1f} Å slows diffusion down. If the model were as viscous as water "
            f"({water.VISCOSITY} mPa s at 298 K), {gain:.2f}·10⁻⁵ cm²/s would have to be added to "
            "the diffusion coefficient (Yeh & Hummer, J. Phys. Chem. B 108, 15873 (2004)); its "
            "own viscosity takes a longer run."
        )
    if ambient(story):
        texts.append(water.SOURCES)
    return texts


def ambient(story: Story) -> bool:
    """Whether experiments on liquid water may stand beside the simulation."""
    density = story.summary["start"]["density_g_cm3"]
    return (
        is_water(story.system)
        and density is not None
        and water.DENSITY[0] <= density <= water.DENSITY[1]
    )


def box_is_told(story: Story) -> bool:
    """Whether what the box does to diffusion can be told: the viscosity is that at 298 K."""
    return ambient(story) and abs(story.config.temperature - 298) < 5


def reference(story: Story) -> str:
    """Where the reference curves come from and what they are worth."""
    found = story.summary["reference"]
    if "reference_frames" not in story.analysis.numbers:
        return (
            "The data hold too few frames in the state that was simulated to be a reference "
            f"({found['frames']})."
        )
    heat = found["temperature_K"]
    told = (
        f"were sampled at {heat[0]:g} to {heat[1]:g} K (within {SAME_TEMPERATURE:g} K of the run)"
        if heat
        else "do not say at which temperature they were sampled"
    )
    return (
        f"Reference: the {found['frames']} frames of the data set itself that have the "
        f"composition of the run and its density within {SAME_DENSITY:.0%}. They {told}.\n\n"
        "Frames chosen for training need not be a sample of the ensemble simulated here: they may "
        "be distorted, come from another potential, or from path integrals, whose nuclei are "
        "quantum and whose bonds are therefore broader. A deviation is then not an error of the "
        "potential."
    )
