"""A neural wave function of each frame (`huozi.wavefunction`) as a label engine."""

from __future__ import annotations

import importlib
import importlib.metadata
from dataclasses import replace

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree

from huozi.labels.labeller import LabelError, charge_and_multiplicity, checked, require
from huozi.labels.settings import WaveFunctionLevel
from huozi.systems import Labels


class WaveFunctionLabeller:
    """Energies with standard errors, and forces where their errors are small enough."""

    def __init__(self, level: WaveFunctionLevel) -> None:
        require("pyscf", "2.6", "pip install 'huozi[pyscf]'")
        # Found by name: neither package depends on the other.
        self._wavefunction = importlib.import_module("huozi.wavefunction")
        self._level = level
        self.code = f"huozi {importlib.metadata.version('huozi')}"
        method = f"{level.method}, {level.ecp}" if level.ecp else level.method
        walkers = f" of {level.walkers} walkers" if level.walkers else ""
        kind = f"DMC of {level.diffusion} steps after VMC" if level.diffusion else "VMC"
        self.level = f"{kind}({method}, {level.steps} steps{walkers})"

    def label(self, atoms: Atoms) -> Labels:
        """See `huozi.labels.Labeller`."""
        level, module = self._level, self._wavefunction
        charge, multiplicity = charge_and_multiplicity(atoms, level)
        if atoms.pbc.any():
            raise LabelError("labels by wave functions are for molecules; the frame is periodic")
        text = "; ".join(f"{a.symbol} {' '.join(map(repr, map(float, a.position)))}" for a in atoms)
        try:
            molecule = module.Molecule.parse(
                text, "angstrom", charge, multiplicity - 1, ecp=level.ecp
            )
            config = module.TrainConfig(
                ansatz=module.AnsatzConfig(kind=level.method),
                steps=level.steps,
                walkers=level.walkers,
                seed=level.seed,
            )
            trained = module.build(molecule, config.ansatz).train(config=config)
            if level.diffusion:
                found = trained.diffuse(steps=level.diffusion, seed=level.seed + 1)
            else:
                found = trained.evaluate(steps=level.samples, seed=level.seed + 1)
        except ValueError as error:
            raise LabelError(str(error)) from error
        self._refuse(found.energy_Ha, found.stderr_Ha, molecule)
        labels = Labels(found.energy_Ha * Hartree, energy_error=found.stderr_Ha * Hartree)
        if level.diffusion:
            return checked(labels, atoms)  # the forces would be those of another energy
        forces, errors = (
            np.array(values) * Hartree / Bohr
            for values in (found.forces_Ha_per_bohr, found.forces_stderr)
        )
        if errors.size and errors.max() <= level.forces_error:
            labels = replace(labels, forces=forces, forces_error=errors)
        return checked(labels, atoms)

    def _refuse(self, energy: float, error: float, molecule: object) -> None:
        """Raise for an energy that is too uncertain, or above that of a cheaper method."""
        if error * Hartree > self._level.energy_error:
            raise LabelError(
                f"the energy has a standard error of {error * Hartree:.3f} eV, above energy_error "
                f"({self._level.energy_error:g} eV); use more samples or steps"
            )
        for name, other in self._wavefunction.reference_energies(molecule).items():
            if energy > other + 3 * error:
                raise LabelError(
                    f"the energy is {(energy - other) * Hartree:.3f} eV above that of {name}: "
                    "the optimisation has not converged; use more steps"
                )
