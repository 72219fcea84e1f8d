"""Held-out labels for functionals of water: CCSD/cc-pVDZ of tetramers and proton transfer.

    python benchmarks/functional_labels.py DATA [--tetramers 20] [--forces 12] [--cache DIR]

DATA holds deepks folders train.n2 and train.n3; a tetramer is a trimer of the data to which a
water is added where a dimer of the data has it; the first of them have forces too. The rings have
equal O-O distances R, hydrogens between neighbours at (R - d)/2 from one of them, and free
hydrogens alternately above and below; all protons move at once, so d = 0 is the symmetric point.
Finished labels are kept in the cache; all are written to benchmarks/results/functional-labels.json
(bohr, hartree) after each tetramer.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from results import save

RINGS = {3: (0.0, 0.2, 0.4, 0.7), 4: (0.0, 0.3, 0.7), 6: (0.0, 0.35, 0.7)}
RING_OO = 2.44
SHIFT_OO = 0.35  # O-O grows with d: 2.44 + 0.35 d^2, near the relaxed path


def ring(n: int, d: float) -> np.ndarray:
    """Positions (3 n, 3), Å, order O H H of each water."""
    r = RING_OO + SHIFT_OO * d * d
    radius = r / (2 * np.sin(np.pi / n))
    angle = 2 * np.pi * np.arange(n) / n
    oxygens = radius * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    atoms = []
    for i in range(n):
        out = oxygens[i] / radius
        along = (oxygens[(i + 1) % n] - oxygens[i]) / r
        up = (-1.0) ** i * np.array([0, 0, 1.0])
        free = 0.55 * out + 0.835 * up
        atoms += [
            oxygens[i],
            oxygens[i] + along * (r - d) / 2,
            oxygens[i] + 0.96 * free / np.linalg.norm(free),
        ]
    return np.array(atoms)


def tetramers(data: Path, count: int, seed: int = 5) -> list[np.ndarray]:
    """Trimers with a fourth water placed as in a dimer."""
    random = np.random.default_rng(seed)
    dimers, trimers = (np.load(data / f"train.n{n}" / "coord.npy") for n in (2, 3))
    found: list[np.ndarray] = []
    while len(found) < count:
        three = trimers[random.integers(len(trimers))].reshape(3, 3, 3)
        two = dimers[random.integers(len(dimers))].reshape(2, 3, 3)
        side = random.integers(2)
        fourth = superpose(two[side], three[random.integers(3)], two[1 - side])
        cluster = np.concatenate([three, fourth[None]])
        if acceptable(cluster):
            found.append(cluster.reshape(12, 3))
    return found


def superpose(moving: np.ndarray, fixed: np.ndarray, carried: np.ndarray) -> np.ndarray:
    """Carry positions along with the rigid motion that takes one water onto another."""
    a, b = moving.mean(0), fixed.mean(0)
    u, _, v = np.linalg.svd((moving - a).T @ (fixed - b))
    flip = np.diag([1, 1, np.sign(np.linalg.det(u @ v))])
    return (carried - a) @ (u @ flip @ v) + b


def acceptable(cluster: np.ndarray) -> bool:
    """No contact closer than the closest of the data."""
    for i in range(3):
        pair = np.linalg.norm(cluster[i][:, None] - cluster[3][None], axis=-1)
        if pair[0, 0] < 2.5 or pair[0, 1:].min() < 1.5 or pair[1:, 0].min() < 1.5:
            return False
        if pair[1:, 1:].min() < 1.9:
            return False
    return True


def label(positions: np.ndarray, cache: Path, forces: bool = False) -> dict[str, Any]:
    """CCSD/cc-pVDZ, all electrons, kept by content; hartree, hartree/bohr."""
    from pyscf import cc, gto, scf

    key = hashlib.sha256(np.round(positions, 8).tobytes()).hexdigest()[:20]
    place = cache / f"{key}.json"
    if place.exists():
        kept = json.loads(place.read_text())
        if not forces or "forces_Ha_per_bohr" in kept:
            return kept
    symbols = ["O", "H", "H"] * (len(positions) // 3)
    mol = gto.M(atom=list(zip(symbols, positions)), basis="cc-pvdz", verbose=0)
    mf = scf.RHF(mol).run(conv_tol=1e-11)
    correlated = cc.CCSD(mf).run(conv_tol=1e-8)
    if not (mf.converged and correlated.converged):
        raise RuntimeError(f"no convergence for {positions.tolist()}")
    record = {
        "positions_bohr": mol.atom_coords().tolist(),
        "hf_Ha": float(mf.e_tot),
        "ccsd_Ha": float(correlated.e_tot),
    }
    if forces:
        record["forces_Ha_per_bohr"] = (-correlated.nuc_grad_method().kernel()).tolist()
    cache.mkdir(parents=True, exist_ok=True)
    aside = place.with_suffix(".part")
    aside.write_text(json.dumps(record))
    aside.rename(place)
    return record


def main() -> None:
    """Label, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tetramers", type=int, default=20)
    parser.add_argument("--forces", type=int, default=12)
    parser.add_argument("--rings", type=int, nargs="*", default=[3, 4, 6])
    parser.add_argument("--cache", type=Path, default=Path("functional-labels"))
    options = parser.parse_args()
    result: dict[str, Any] = {"method": "CCSD/cc-pVDZ, all electrons", "rings": {}, "tetramers": []}
    for n in options.rings:
        points = []
        for d in RINGS[n]:
            points.append({"d_A": d, **label(ring(n, d), options.cache)})
            print(n, d, points[-1]["hf_Ha"], points[-1]["ccsd_Ha"], file=sys.stderr, flush=True)
        result["rings"][str(n)] = points
    command = [
        "benchmarks/functional_labels.py",
        options.data.name,
        f"--tetramers={options.tetramers}",
    ]
    command += [f"--forces={options.forces}"]
    for k, positions in enumerate(tetramers(options.data, options.tetramers)):
        result["tetramers"].append(label(positions, options.cache, k < options.forces))
        print("tetramer", result["tetramers"][-1]["ccsd_Ha"], file=sys.stderr, flush=True)
        save("functional-labels", result, command)


if __name__ == "__main__":
    main()
