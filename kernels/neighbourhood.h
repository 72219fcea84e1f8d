// Neighbours of one atom within the cutoff, and the forces on them.
#pragma once

#include <algorithm>
#include <vector>

#include "huozi.h"
#include "model.h"
#include "vector.h"

namespace HUOZI_ISA {

// Neighbours of one atom within the cutoff, by element, each element padded to whole vectors.
struct Neighbourhood {
  std::vector<float> x, y, z;
  std::vector<int> index;      // -1 in padded places
  std::vector<int> first;      // vector at which each element begins, and the end
};

// Neighbours of one atom before they are sorted by element.
struct Candidates {
  std::vector<float> x, y, z;
  std::vector<int> index, kind;
};

// Neighbours within the cutoff; the displacement is a double, rounded once.
template <class List>
void gather(const huozi::Model& model, const List& list, int atom, Candidates& work,
            Neighbourhood& near) {
  const int slots = list.count(atom);
  if (static_cast<int>(work.x.size()) < slots)
    for (auto* v : {&work.x, &work.y, &work.z}) v->resize(slots);
  if (static_cast<int>(work.index.size()) < slots) work.index.resize(slots), work.kind.resize(slots);
  const float limit = static_cast<float>(model.cutoff * model.cutoff);
  const int elements = static_cast<int>(model.elements.size());
  std::vector<int>& first = near.first;
  first.assign(elements + 1, 0);

  int found = 0;
  for (int slot = 0; slot < slots; slot++) {
    int other;
    double d[3];
    list.displacement(atom, slot, other, d);
    const float x = static_cast<float>(d[0]), y = static_cast<float>(d[1]),
                z = static_cast<float>(d[2]);
    const float square = x * x + y * y + z * z;
    work.x[found] = x, work.y[found] = y, work.z[found] = z;
    work.index[found] = other;
    found += (square < limit) & (square > 0.0f);
  }
  for (int i = 0; i < found; i++) {
    work.kind[i] = list.element(work.index[i]);
    if (work.kind[i] >= 0) first[work.kind[i] + 1]++;
  }
  for (int e = 0; e < elements; e++) first[e + 1] = first[e] + (first[e + 1] + kLanes - 1) / kLanes;
  const int size = first[elements] * kLanes;
  if (static_cast<int>(near.x.size()) < size) {
    for (auto* v : {&near.x, &near.y, &near.z}) v->resize(size);
    near.index.resize(size);
  }
  // A padded place is a neighbour at the cutoff, where everything vanishes.
  std::fill_n(near.x.begin(), size, static_cast<float>(model.cutoff));
  std::fill_n(near.y.begin(), size, 0.0f);
  std::fill_n(near.z.begin(), size, 0.0f);
  std::fill_n(near.index.begin(), size, -1);
  int place[128];
  for (int e = 0; e < elements; e++) place[e] = first[e] * kLanes;
  for (int i = 0; i < found; i++) {
    if (work.kind[i] < 0) continue;
    const int to = place[work.kind[i]]++;
    near.x[to] = work.x[i], near.y[to] = work.y[i], near.z[to] = work.z[i];
    near.index[to] = work.index[i];
  }
}

// Multiples of 2^-40: sums of them below 2^13 are exact in double precision, hence the same in any
// order. Floats from 2^-17 on are such multiples already; adding 3 * 2^-17 rounds others to 2^-39.
inline Vec fixed_point(const Vec& v) {
  return each(
      [](Register x) {
        constexpr float small = 0x1p-17f;
        const Register rounded = (x + 3.0f * small) - 3.0f * small;
        return x * x < small * small ? rounded : x;
      },
      v);
}

// Takes the energy's gradient (eV/Å) by the displacements of the neighbours of one atom.
class PairForces {
 public:
  PairForces(int atom, const Neighbourhood& near, const huozi_output& out)
      : atom_(atom), near_(near), out_(out) {}

  // For the 16 neighbours from slot `at` on.
  void add(int at, const Vec& gx, const Vec& gy, const Vec& gz) {
    const Vec fx = fixed_point(gx), fy = fixed_point(gy), fz = fixed_point(gz);
    if (out_.virial || out_.atom_virials) {
      const Vec x = load(&near_.x[at]), y = load(&near_.y[at]), z = load(&near_.z[at]);
      const Vec products[6] = {x * fx, y * fy, z * fz, y * fz, x * fz, x * fy};
      for (int k = 0; k < 6; k++) strain_[k] += products[k];
      if (out_.atom_virials)
        for (int q = 0; q < kLanes; q++)
          if (near_.index[at + q] >= 0)
            for (int k = 0; k < 6; k++)
              out_.atom_virials[6 * static_cast<std::size_t>(near_.index[at + q]) + k] -=
                  products[k][q];
    }
    for (int q = 0; q < kLanes; q++) {
      const int other = near_.index[at + q];
      if (other < 0) break;
      double* f = out_.forces + 3 * static_cast<std::size_t>(other);
      f[0] -= fx[q], f[1] -= fy[q], f[2] -= fz[q];
      own_[0] += fx[q], own_[1] += fy[q], own_[2] += fz[q];
    }
  }

  // Once, after all neighbours.
  void finish() {
    for (int k = 0; k < 3; k++) out_.forces[3 * static_cast<std::size_t>(atom_) + k] += own_[k];
    if (out_.virial)
      for (int k = 0; k < 6; k++)
        for (int q = 0; q < kLanes; q++) out_.virial[k] -= strain_[k][q];
  }

 private:
  int atom_;
  const Neighbourhood& near_;
  const huozi_output& out_;
  double own_[3] = {0, 0, 0};
  Vec strain_[6] = {};
};

}  // namespace HUOZI_ISA
