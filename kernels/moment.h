// Moments of the neighbours by the radial functions and harmonics of the moment potential.
//
// Lanes are neighbours of one atom in the geometry, and harmonics in the sums.
#pragma once

#include "geometry.h"
#include "neighbourhood.h"
#include "product.h"

namespace HUOZI_ISA {

using huozi::Model;
using huozi::Range;

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

// Pairs' gradients (eV/Å) from those of the moments.
template <int Radial>
void pull(const Model& model, const Neighbourhood& near, const Vec* rows, PairForces& forces) {
  const int radial = Radial ? Radial : model.radial, harmonics = model.harmonics();
  const float cutoff = static_cast<float>(model.cutoff);
  const int elements = static_cast<int>(model.elements.size());
  Geometry g;
  Vec value[Radial ? Radial : 40], slope[Radial ? Radial : 40];
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
      forces.add(at, fx, fy, fz);
    }
  }
  forces.finish();
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

// What block() asks of a set of functions; 0: their number is known at run time alone.
template <int Radial>
struct MomentFunctions {
  static std::size_t row_size(const Model& model) { return model.functions(); }
  static void ranges(const Model& model, std::vector<Range>& ranges) {
    ranges.assign(1, {0, model.functions()});
  }
  static void sum(const Model& model, const Neighbourhood& near, Vec* row, std::vector<Range>&) {
    moments_of_atom<Radial>(model, near, row);
  }
  static void to_lanes(const Model& model, const std::vector<Range>&, const Vec* rows,
                       Vec* lanes) {
    rows_to_lanes(model.functions(), model.harmonics(), rows, lanes);
  }
  static void to_rows(const Model& model, const std::vector<Range>&, const Vec* lanes,
                      Vec* rows) {
    lanes_to_rows(model.functions(), model.harmonics(), lanes, rows);
  }
  static void pull(const Model& model, const Neighbourhood& near, const Vec* row,
                   PairForces& forces) {
    HUOZI_ISA::pull<Radial>(model, near, row, forces);
  }
};

}  // namespace HUOZI_ISA
