// Energies and forces of blocks of 32 atoms of one element, from the neighbours to the network and
// back.
//
// Up to the moments and from their gradients on, lanes are neighbours of one atom; between, in
// the mixing, the invariants and the network, lanes are atoms, so that every size is allowed and
// nothing is ever summed across lanes. The same rows of weights serve both directions.
#pragma once

#include "moment.h"
#include "network.h"
#include "splines.h"

namespace HUOZI_ISA {

using huozi::Element;

// ---------------------------------------------------------------- work space of one thread

struct Workspace {
  Neighbourhood near[kBlock];
  Candidates candidates;
  std::vector<Vec> rows;       // per atom: moments, later their gradients
  std::vector<Range> ranges;   // functions whose moments are not all zero
  std::vector<Vec> moments, moment_gradient;  // [function][harmonic][2]; two gradients of splines
  std::vector<Vec> mixed, mixed_gradient;     // [channel][harmonic][2]
  NetworkRoom network;

  Workspace(const Model& model, std::size_t row_size) : network(model.elements[0].layers) {
    const int functions = model.functions(), harmonics = model.harmonics();
    rows.resize(kBlock * row_size);
    moments.resize(functions * harmonics * kVecs);
    moment_gradient.resize(moments.size() * (model.nodes ? 2 : 1));
    mixed.resize(model.channels * harmonics * kVecs);
    mixed_gradient.resize(mixed.size());
  }
};

// ---------------------------------------------------------------- invariants and back

// values = { A[k, 0] } unless they are left out, and, by groups of harmonics,
// { sum_m A[q, m] A[k, m] } for the partners q and their channels k
inline void invariants(const Model& model, const Vec* mixed, Vec* values) {
  const int stride = model.harmonics() * kVecs;
  for (int k = 0; k < model.linear; k++)
    for (int v = 0; v < kVecs; v++) *values++ = mixed[k * stride + v];
  for (const Range& group : model.groups) {
    const int first = group.first * kVecs, size = group.count * kVecs;
    const Vec* a = mixed + first;
    for (const std::vector<int>& channels : model.partners) {
      for (const int k : channels) {
        const Vec* b = mixed + k * stride + first;
        Vec s0 = Vec{}, s1 = Vec{};
        for (int m = 0; m < size; m += kVecs) s0 += a[m] * b[m], s1 += a[m + 1] * b[m + 1];
        values[0] = s0, values[1] = s1;
        values += kVecs;
      }
      a += stride;
    }
  }
}

inline void invariants_gradient(const Model& model, const Vec* mixed, const Vec* gradient,
                                Vec* mixed_gradient) {
  const int stride = model.harmonics() * kVecs;
  std::fill_n(mixed_gradient, model.channels * stride, Vec{});
  for (int k = 0; k < model.linear; k++)
    for (int v = 0; v < kVecs; v++) mixed_gradient[k * stride + v] = *gradient++;
  for (const Range& group : model.groups) {
    const int first = group.first * kVecs, size = group.count * kVecs;
    const Vec* a = mixed + first;
    Vec* own = mixed_gradient + first;
    for (const std::vector<int>& channels : model.partners) {
      Vec sum[7 * kVecs] = {};
      for (const int k : channels) {
        const Vec* b = mixed + k * stride + first;
        Vec* out = mixed_gradient + k * stride + first;
        const Vec g0 = gradient[0], g1 = gradient[1];
        for (int m = 0; m < size; m += kVecs) {
          out[m] += g0 * a[m], out[m + 1] += g1 * a[m + 1];
          sum[m] += g0 * b[m], sum[m + 1] += g1 * b[m + 1];
        }
        gradient += kVecs;
      }
      for (int m = 0; m < size; m++) own[m] += sum[m];
      a += stride, own += stride;
    }
  }
}

// ---------------------------------------------------------------- mixing and back

inline void mix(const Model& model, const Element& element, Workspace& work) {
  const int harmonics = model.harmonics(), stride = harmonics * kVecs;
  std::fill(work.mixed.begin(), work.mixed.end(), Vec{});
  if (!element.constant.empty())
    for (int k = 0; k < model.channels; k++)
      for (int v = 0; v < kVecs; v++) work.mixed[k * stride + v] = splat(element.constant[k]);
  for (int l = 0; l <= model.degree; l++)
    for (const Range& range : work.ranges)
      accumulate(model.channels, range.count, (2 * l + 1) * kVecs,
                 &element.mix[l][range.first * model.channels], 1, model.channels,
                 &work.moments[range.first * stride + l * l * kVecs], stride,
                 &work.mixed[l * l * kVecs], stride);
}

inline void mix_gradient(const Model& model, const std::vector<std::vector<float>>& mix,
                         Workspace& work, Vec* moment_gradient) {
  const int stride = model.harmonics() * kVecs;
  for (const Range& range : work.ranges) {
    Vec* gradient = moment_gradient + range.first * stride;
    std::fill_n(gradient, range.count * stride, Vec{});
    for (int l = 0; l <= model.degree; l++)
      accumulate(range.count, model.channels, (2 * l + 1) * kVecs,
                 &mix[l][range.first * model.channels], model.channels, 1,
                 &work.mixed_gradient[l * l * kVecs], stride, gradient + l * l * kVecs, stride);
  }
}

// ---------------------------------------------------------------- one block of atoms

template <class Functions, class List>
void block(const Model& model, int kind, const int* atoms, int count, const List& list,
           Workspace& work, const huozi_output& out) {
  const Element& element = model.elements[kind];
  const std::size_t size = Functions::row_size(model);
  Functions::ranges(model, work.ranges);
  for (int a = 0; a < count; a++) {
    gather(model, list, atoms[a], work.candidates, work.near[a]);
    Functions::sum(model, work.near[a], &work.rows[a * size], work.ranges);
  }
  std::fill(work.rows.begin() + count * size, work.rows.end(), Vec{});
  Functions::to_lanes(model, work.ranges, work.rows.data(), work.moments.data());
  mix(model, element, work);
  invariants(model, work.mixed.data(), work.network.values[0].data());
  Vec energy[kVecs];
  network(element, work.network, energy);
  for (int a = 0; a < count; a++) {
    const double e = energy[a / kLanes][a % kLanes] - element.vacuum;
    *out.energy += e + element.e0;
    if (out.energies) out.energies[atoms[a]] += e + element.e0;
  }
  if (!out.forces) return;

  invariants_gradient(model, work.mixed.data(), work.network.gradient.data(),
                      work.mixed_gradient.data());
  mix_gradient(model, element.mix, work, work.moment_gradient.data());
  if (model.nodes)
    mix_gradient(model, element.mix_slope, work, &work.moment_gradient[work.moments.size()]);
  Functions::to_rows(model, work.ranges, work.moment_gradient.data(), work.rows.data());
  for (int a = 0; a < count; a++) {
    PairForces forces(atoms[a], work.near[a], out);
    Functions::pull(model, work.near[a], &work.rows[a * size], forces);
  }
}

}  // namespace HUOZI_ISA
