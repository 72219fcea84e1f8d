// The two ways in which neighbours reach the kernel.
#pragma once

#include <cstddef>
#include <cstdint>

#include "huozi.h"

namespace huozi {

// Of an entry of LAMMPS's neighbour list; the bits above tell of bonds.
constexpr int kAtomBits = 0x1FFFFFFF;

// Rows of atom numbers; periodic copies are atoms of their own (LAMMPS).
struct GhostList {
  const huozi_atoms& atoms;

  int count(int atom) const { return atoms.counts[atom]; }
  int element(int other) const { return atoms.kinds[other]; }
  void displacement(int atom, int slot, int& other, double (&d)[3]) const {
    other = atoms.neighbours[atom][slot] & kAtomBits;
    const double* from = atoms.positions + 3 * static_cast<std::size_t>(atom);
    const double* to = atoms.positions + 3 * static_cast<std::size_t>(other);
    for (int k = 0; k < 3; k++) d[k] = to[k] - from[k];
  }
};

// One table of `width` slots a row with periodic shifts (huozi.neighbors.Neighbors); an empty
// slot holds the atom itself.
struct DenseList {
  int width;
  const double* positions;   // n * 3
  const double* cell;        // 3 * 3
  const std::int32_t* index;  // n * width
  const std::int32_t* shift;  // n * width * 3
  const int* kinds;          // n

  int count(int) const { return width; }
  int element(int other) const { return kinds[other]; }
  void displacement(int atom, int slot, int& other, double (&d)[3]) const {
    const std::size_t at = static_cast<std::size_t>(atom) * width + slot;
    other = index[at];
    const std::int32_t* s = shift + 3 * at;
    const double* from = positions + 3 * static_cast<std::size_t>(atom);
    const double* to = positions + 3 * static_cast<std::size_t>(other);
    for (int k = 0; k < 3; k++) d[k] = to[k] - from[k];
    if (s[0] | s[1] | s[2])
      for (int k = 0; k < 3; k++) d[k] += s[0] * cell[k] + s[1] * cell[3 + k] + s[2] * cell[6 + k];
  }
};

}  // namespace huozi
