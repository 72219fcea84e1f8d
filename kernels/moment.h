// Energies and forces of the moment potential for blocks of 32 atoms of one element.
//
// Up to the moments and from their gradients on, lanes are neighbours of one atom; between, in
// the mixing, the invariants and the network, lanes are atoms, so that every size is allowed and
// nothing is ever summed across lanes. The same rows of weights serve both directions.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "geometry.h"
#include "huozi.h"
#include "model.h"
#include "vector.h"

namespace HUOZI_ISA {

using huozi::Element;
using huozi::Layer;
using huozi::Model;

constexpr int kVecs = 2;  // vectors of atoms in a block
constexpr int kBlock = kVecs * kLanes;

// ---------------------------------------------------------------- products of matrices

// out[i][v] += sum_j weight[i * step_i + j * step_j] * in[j][v], for I rows i and 2 vectors v.
template <int I>
inline void tile(int inner, const float* weight, std::ptrdiff_t step_i, std::ptrdiff_t step_j,
                 const Vec* in, int in_stride, Vec* out, int out_stride) {
  Vec sum[I][kVecs];
#pragma GCC unroll 32
  for (int i = 0; i < I; i++)
    for (int v = 0; v < kVecs; v++) sum[i][v] = out[i * out_stride + v];
  for (int j = 0; j < inner; j++) {
    const Vec x0 = in[j * in_stride], x1 = in[j * in_stride + 1];
#pragma GCC unroll 32
    for (int i = 0; i < I; i++) {
      const Vec w = splat(weight[i * step_i + j * step_j]);
      add_product(sum[i][0], w, x0);
      add_product(sum[i][1], w, x1);
    }
  }
#pragma GCC unroll 32
  for (int i = 0; i < I; i++)
    for (int v = 0; v < kVecs; v++) out[i * out_stride + v] = sum[i][v];
}

// The same for `outer` rows i and `width` vectors, a multiple of 2. HUOZI_TILE rows at a time keep
// their sums in registers.
inline void accumulate(int outer, int inner, int width, const float* weight, std::ptrdiff_t step_i,
                       std::ptrdiff_t step_j, const Vec* in, int in_stride, Vec* out,
                       int out_stride) {
  int i = 0;
  const auto rows = [&](auto size) {
    constexpr int I = decltype(size)::value;
    for (; i + I <= outer; i += I)
      for (int v = 0; v < width; v += kVecs)
        tile<I>(inner, weight + i * step_i, step_i, step_j, in + v, in_stride,
                out + i * out_stride + v, out_stride);
  };
  rows(std::integral_constant<int, HUOZI_TILE>{});
  rows(std::integral_constant<int, 4>{});
  rows(std::integral_constant<int, 1>{});
}

// ---------------------------------------------------------------- work space of one thread

// Neighbours of one atom within the cutoff, by element, each element padded to whole vectors.
struct Neighbourhood {
  std::vector<float> x, y, z;
  std::vector<int> index;      // -1 in padded places
  std::vector<int> first;      // vector at which each element begins, and the end
};

struct Workspace {
  Neighbourhood near[kBlock];
  std::vector<float> x, y, z;  // of one atom, before they are sorted
  std::vector<int> index, kind;
  std::vector<Vec> rows;       // per atom: moments, later their gradients [function][16]
  std::vector<Vec> moments, moment_gradient;  // [function][harmonic][2]
  std::vector<Vec> mixed, mixed_gradient;     // [channel][harmonic][2]
  std::vector<std::vector<Vec>> values;       // of each layer [unit][2]; 0: the invariants
  std::vector<std::vector<Vec>> slopes;       // derivative of each layer's activation
  std::vector<Vec> gradient, next;

  explicit Workspace(const Model& model) {
    const int functions = model.functions(), harmonics = model.harmonics();
    rows.resize(static_cast<std::size_t>(kBlock) * functions);
    moments.resize(functions * harmonics * kVecs);
    moment_gradient.resize(moments.size());
    mixed.resize(model.channels * harmonics * kVecs);
    mixed_gradient.resize(mixed.size());
    const auto& layers = model.elements[0].layers;
    std::size_t widest = 0;
    values.emplace_back(layers[0].inputs * kVecs);
    for (const Layer& layer : layers) {
      values.emplace_back(layer.outputs * kVecs);
      slopes.emplace_back(layer.outputs * kVecs);
      widest = std::max<std::size_t>({widest, values.back().size(), values[0].size()});
    }
    gradient.resize(widest);
    next.resize(widest);
  }
};

// ---------------------------------------------------------------- neighbours of one atom

// Neighbours within the cutoff; the displacement is a double, rounded once.
template <class List>
void gather(const Model& model, const List& list, int atom, Workspace& work, Neighbourhood& near) {
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

// ---------------------------------------------------------------- moments and back

// rows[function][harmonic] = sum over neighbours of B(r) Y(r), for one atom.
template <int Radial>
void moments_of_atom(const Model& model, const Neighbourhood& near, Vec* rows) {
  const int radial = Radial ? Radial : model.radial;
  const float cutoff = static_cast<float>(model.cutoff);
  const int elements = static_cast<int>(model.elements.size());
  Geometry g;
  Vec value[Radial ? Radial : 40], slope[Radial ? Radial : 40];
  alignas(64) float scalar[Radial ? Radial : 40][kLanes];
  for (int e = 0; e < elements; e++) {
    Vec* sum = rows + e * radial;
    Vec total[Radial ? Radial : 40];
    for (int n = 0; n < radial; n++) total[n] = Vec{};
    for (int block = near.first[e]; block < near.first[e + 1]; block++) {
      const int at = block * kLanes;
      geometry(&near.x[at], &near.y[at], &near.z[at], cutoff, radial, model.degree, g, value, slope);
      for (int n = 0; n < radial; n++) store(scalar[n], value[n]);
      transpose(g.harmonics);  // now one vector of harmonics per neighbour
#pragma GCC unroll 16
      for (int q = 0; q < kLanes; q++)
#pragma GCC unroll 16
        for (int n = 0; n < radial; n++) add_product(total[n], splat(scalar[n][q]), g.harmonics[q]);
    }
    for (int n = 0; n < radial; n++) sum[n] = total[n];
  }
}

// Pairs' gradients (eV/Å) from those of the moments; adds forces and virial.
template <int Radial>
void pull(const Model& model, int atom, const Neighbourhood& near,
          const Vec* rows, double* forces, double* virial, double* atom_virial) {
  const int radial = Radial ? Radial : model.radial, harmonics = model.harmonics();
  const float cutoff = static_cast<float>(model.cutoff);
  const int elements = static_cast<int>(model.elements.size());
  Geometry g;
  Vec value[Radial ? Radial : 40], slope[Radial ? Radial : 40];
  double own[3] = {0, 0, 0};
  Vec strain[6] = {};
  for (int e = 0; e < elements; e++) {
    const float* gradient = reinterpret_cast<const float*>(rows + e * radial);
    for (int block = near.first[e]; block < near.first[e + 1]; block++) {
      const int at = block * kLanes;
      geometry(&near.x[at], &near.y[at], &near.z[at], cutoff, radial, model.degree, g, value, slope);
      Vec tangential[kHarmonics] = {}, along = Vec{};
#pragma GCC unroll 1
      for (int m = 0; m < harmonics; m++) {
        Vec t = Vec{}, u = Vec{};
#pragma GCC unroll 16
        for (int n = 0; n < radial; n++) {
          const Vec c = splat(gradient[n * kLanes + m]);
          add_product(t, c, value[n]);
          add_product(u, c, slope[n]);
        }
        tangential[m] = t;
        along += u * g.harmonics[m];
      }
      Vec gx, gy, gz;
      harmonics_gradient(tangential, g, gx, gy, gz);
      along -= (gx * g.x + gy * g.y + gz * g.z) * g.inverse;
      const Vec fx = along * g.x + gx * g.inverse, fy = along * g.y + gy * g.inverse,
                fz = along * g.z + gz * g.inverse;
      if (virial || atom_virial) {
        const Vec x = load(&near.x[at]), y = load(&near.y[at]), z = load(&near.z[at]);
        const Vec products[6] = {x * fx, y * fy, z * fz, y * fz, x * fz, x * fy};
        for (int k = 0; k < 6; k++) strain[k] += products[k];
        if (atom_virial)
          for (int q = 0; q < kLanes; q++)
            if (near.index[at + q] >= 0)
              for (int k = 0; k < 6; k++)
                atom_virial[6 * static_cast<std::size_t>(near.index[at + q]) + k] -= products[k][q];
      }
      for (int q = 0; q < kLanes; q++) {
        const int other = near.index[at + q];
        if (other < 0) break;
        double* f = forces + 3 * static_cast<std::size_t>(other);
        f[0] -= fx[q], f[1] -= fy[q], f[2] -= fz[q];
        own[0] += fx[q], own[1] += fy[q], own[2] += fz[q];
      }
    }
  }
  for (int k = 0; k < 3; k++) forces[3 * static_cast<std::size_t>(atom) + k] += own[k];
  if (virial)
    for (int k = 0; k < 6; k++)
      for (int q = 0; q < kLanes; q++) virial[k] -= strain[k][q];
}

// Swap lanes between one atom's harmonics and the block's atoms.
inline void rows_to_lanes(int functions, int harmonics, const Vec* rows, Vec* lanes) {
  for (int b = 0; b < functions; b++)
    for (int v = 0; v < kVecs; v++) {
      Vec square[kLanes];
      for (int a = 0; a < kLanes; a++) square[a] = rows[(v * kLanes + a) * functions + b];
      transpose(square);
      for (int m = 0; m < harmonics; m++) lanes[(b * harmonics + m) * kVecs + v] = square[m];
    }
}

inline void lanes_to_rows(int functions, int harmonics, const Vec* lanes, Vec* rows) {
  for (int b = 0; b < functions; b++)
    for (int v = 0; v < kVecs; v++) {
      Vec square[kLanes] = {};
      for (int m = 0; m < harmonics; m++) square[m] = lanes[(b * harmonics + m) * kVecs + v];
      transpose(square);
      for (int a = 0; a < kLanes; a++) rows[(v * kLanes + a) * functions + b] = square[a];
    }
}

// ---------------------------------------------------------------- invariants and back

// values = { A[k, 0] } and, by degree, { sum_m A[q, m] A[k, m] : q < partners, k >= q }
inline void invariants(const Model& model, const Vec* mixed, Vec* values) {
  const int stride = model.harmonics() * kVecs;
  for (int k = 0; k < model.channels; k++)
    for (int v = 0; v < kVecs; v++) *values++ = mixed[k * stride + v];
  for (int l = 0; l <= model.degree; l++) {
    const int first = l * l * kVecs, size = (2 * l + 1) * kVecs;
    for (int q = 0; q < model.partners; q++)
      for (int k = q; k < model.channels; k++, values += kVecs) {
        const Vec *a = mixed + q * stride + first, *b = mixed + k * stride + first;
        Vec s0 = Vec{}, s1 = Vec{};
        for (int m = 0; m < size; m += kVecs) s0 += a[m] * b[m], s1 += a[m + 1] * b[m + 1];
        values[0] = s0, values[1] = s1;
      }
  }
}

inline void invariants_gradient(const Model& model, const Vec* mixed, const Vec* gradient,
                                Vec* mixed_gradient) {
  const int stride = model.harmonics() * kVecs;
  std::fill_n(mixed_gradient, model.channels * stride, Vec{});
  for (int k = 0; k < model.channels; k++)
    for (int v = 0; v < kVecs; v++) mixed_gradient[k * stride + v] = *gradient++;
  for (int l = 0; l <= model.degree; l++) {
    const int first = l * l * kVecs, size = (2 * l + 1) * kVecs;
    for (int q = 0; q < model.partners; q++) {
      const Vec* a = mixed + q * stride + first;
      Vec sum[7 * kVecs] = {};
      for (int k = q; k < model.channels; k++, gradient += kVecs) {
        const Vec* b = mixed + k * stride + first;
        Vec* out = mixed_gradient + k * stride + first;
        const Vec g0 = gradient[0], g1 = gradient[1];
        for (int m = 0; m < size; m += kVecs) {
          out[m] += g0 * a[m], out[m + 1] += g1 * a[m + 1];
          sum[m] += g0 * b[m], sum[m + 1] += g1 * b[m + 1];
        }
      }
      Vec* own = mixed_gradient + q * stride + first;
      for (int m = 0; m < size; m++) own[m] += sum[m];
    }
  }
}

// ---------------------------------------------------------------- network of one element

// Energies of the lanes; leaves the gradient by the invariants in work.gradient.
inline void network(const Element& element, Workspace& work, Vec (&energy)[kVecs]) {
  const int depth = static_cast<int>(element.layers.size());
  for (int i = 0; i < depth; i++) {
    const Layer& layer = element.layers[i];
    const Vec* in = work.values[i].data();
    Vec *out = work.values[i + 1].data(), *slope = work.slopes[i].data();
    for (int j = 0; j < layer.outputs; j++)
      for (int v = 0; v < kVecs; v++) out[j * kVecs + v] = splat(layer.bias[j]);
    accumulate(layer.outputs, layer.inputs, kVecs, layer.weight.data(), 1, layer.outputs, in, kVecs,
               out, kVecs);
    for (int j = 0; j < layer.outputs * kVecs; j++) {
      const Vec x = at_least(out[j], -80.0f);
      const Vec s = 1.0f / (1.0f + exponential(-1.0f * x));
      slope[j] = s + x * s * (1.0f - s);
      out[j] = out[j] * s;
      if (layer.residual) out[j] += in[j];
    }
  }
  const int width = static_cast<int>(element.readout.size());
  Vec* gradient = work.gradient.data();
  energy[0] = energy[1] = Vec{};
  for (int j = 0; j < width; j++)
    for (int v = 0; v < kVecs; v++) {
      energy[v] += element.readout[j] * work.values[depth][j * kVecs + v];
      gradient[j * kVecs + v] = splat(element.readout[j]);
    }
  for (int i = depth - 1; i >= 0; i--) {
    const Layer& layer = element.layers[i];
    const Vec* slope = work.slopes[i].data();
    Vec *gradient = work.gradient.data(), *next = work.next.data();
    if (layer.residual)
      std::copy_n(gradient, layer.inputs * kVecs, next);
    else
      std::fill_n(next, layer.inputs * kVecs, Vec{});
    for (int j = 0; j < layer.outputs * kVecs; j++) gradient[j] *= slope[j];
    accumulate(layer.inputs, layer.outputs, kVecs, layer.weight.data(), layer.outputs, 1, gradient,
               kVecs, next, kVecs);
    std::swap(work.gradient, work.next);
  }
}

// ---------------------------------------------------------------- one block of atoms

template <int Radial, class List>
void block(const Model& model, int kind, const int* atoms, int count, const List& list,
           Workspace& work, const huozi_output& out) {
  const Element& element = model.elements[kind];
  const int functions = model.functions(), harmonics = model.harmonics();
  for (int a = 0; a < count; a++) {
    gather(model, list, atoms[a], work, work.near[a]);
    moments_of_atom<Radial>(model, work.near[a], &work.rows[a * functions]);
  }
  std::fill(work.rows.begin() + count * functions, work.rows.end(), Vec{});
  rows_to_lanes(functions, harmonics, work.rows.data(), work.moments.data());

  const int stride = harmonics * kVecs;
  std::fill(work.mixed.begin(), work.mixed.end(), Vec{});
  for (int l = 0; l <= model.degree; l++)
    accumulate(model.channels, functions, (2 * l + 1) * kVecs, element.mix[l].data(), 1,
               model.channels, &work.moments[l * l * kVecs], stride, &work.mixed[l * l * kVecs],
               stride);
  invariants(model, work.mixed.data(), work.values[0].data());
  Vec energy[kVecs];
  network(element, work, energy);
  for (int a = 0; a < count; a++) {
    const double e = energy[a / kLanes][a % kLanes] - element.vacuum;
    *out.energy += e + element.e0;
    if (out.energies) out.energies[atoms[a]] += e + element.e0;
  }
  if (!out.forces) return;

  invariants_gradient(model, work.mixed.data(), work.gradient.data(), work.mixed_gradient.data());
  std::fill(work.moment_gradient.begin(), work.moment_gradient.end(), Vec{});
  for (int l = 0; l <= model.degree; l++)
    accumulate(functions, model.channels, (2 * l + 1) * kVecs, element.mix[l].data(),
               model.channels, 1, &work.mixed_gradient[l * l * kVecs], stride,
               &work.moment_gradient[l * l * kVecs], stride);
  lanes_to_rows(functions, harmonics, work.moment_gradient.data(), work.rows.data());
  for (int a = 0; a < count; a++)
    pull<Radial>(model, atoms[a], work.near[a], &work.rows[a * functions], out.forces,
                 out.virial, out.atom_virials);
}

}  // namespace HUOZI_ISA
