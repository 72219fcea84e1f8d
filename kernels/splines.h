// Moments of the neighbours by quintic B-splines of the switched inverse distance, in which the
// embedding of DeepPot-SE and of DPA-1 without attention is expanded (deeppot_kernel.py).
//
//     P[n][m] = sum_j s B_n(s) h_m      s = w(r) / r      h = (1, unit vector)
//
// and, where types fade in at the cutoff, a second set with one more factor w. Six splines differ
// from zero at a neighbour: a window of six rows of four numbers.
#pragma once

#include "neighbourhood.h"
#include "product.h"

namespace HUOZI_ISA {

using huozi::Model;
using huozi::Range;

constexpr int kDegree = 5, kWindow = kDegree + 1;
typedef float Quad __attribute__((vector_size(16)));  // of four harmonics
constexpr int kQuads = kLanes / 4;

// Of 16 neighbours; slopes are by the distance.
struct Switched {
  Vec x, y, z, inverse;  // unit vector, 1 / distance
  Vec s, s_slope;
  Vec w, w_slope;
};

inline Switched switched(const float* dx, const float* dy, const float* dz, const Model& model) {
  const float onset = static_cast<float>(model.onset), cutoff = static_cast<float>(model.cutoff);
  const float range = 1.0f / (cutoff - onset);
  Switched g;
  const Vec x = load(dx), y = load(dy), z = load(dz);
  const Vec square = x * x + y * y + z * z;
  g.inverse = 1.0f / square_root(square);
  g.x = x * g.inverse, g.y = y * g.inverse, g.z = z * g.inverse;
  // The distance to the cutoff, so that nothing cancels where the switch is small.
  const Vec v = at_most(at_least((cutoff - square * g.inverse) * range, 0.0f), 1.0f), u = 1.0f - v;
  g.w = v * v * v * (10.0f - 15.0f * v + 6.0f * v * v);
  g.w_slope = (-30.0f * range) * u * u * v * v;
  g.s = g.w * g.inverse;
  g.s_slope = (g.w_slope - g.s) * g.inverse;
  return g;
}

// The splines of 16 neighbours that differ from zero, and those of one degree less.
struct Window {
  Vec quintic[kWindow], quartic[kDegree];
  alignas(64) std::int32_t first[kLanes];  // number of the first one
  Vec inside;  // 0 where s is held at its largest, or 1
};

// Cox and de Boor's recurrence for knots at whole numbers; its divisors make 5! in all.
inline void window(const Model& model, const Switched& g, Window& out) {
  const float count = static_cast<float>(model.nodes - kDegree);
  const float scale = count / static_cast<float>(model.end);
  const Vec place = at_most(scale * g.s, count);
  IntRegister whole[kParts];
  Vec t;
  for (int p = 0; p < kParts; p++) {
    const Register x = place.part[p], last = count - 1.0f - Register{};
    whole[p] = __builtin_convertvector(x < last ? x : last, IntRegister);
    t.part[p] = x - __builtin_convertvector(whole[p], Register);
    out.inside.part[p] = x < count ? 1.0f - Register{} : Register{};
  }
  std::memcpy(out.first, whole, sizeof whole);
  Vec* value = out.quintic;
  value[0] = splat(1.0f / 120);
#pragma GCC unroll 8
  for (int d = 1; d <= kDegree; d++) {
    if (d == kDegree)
      for (int k = 0; k < kDegree; k++) out.quartic[k] = static_cast<float>(kDegree) * value[k];
    Vec carried = Vec{};
#pragma GCC unroll 8
    for (int k = 0; k < d; k++) {
      const Vec old = value[k];
      value[k] = carried + (static_cast<float>(k + 1) - t) * old;
      carried = (t + static_cast<float>(d - 1 - k)) * old;
    }
    value[d] = carried;
  }
}

// Four numbers of each of 16 neighbours, from lanes to rows and back.
inline void turn(Quad (&a)[4]) {
  typedef std::int32_t Pick __attribute__((vector_size(16)));
  const Quad low = __builtin_shuffle(a[0], a[1], Pick{0, 4, 1, 5}),
             high = __builtin_shuffle(a[0], a[1], Pick{2, 6, 3, 7}),
             low2 = __builtin_shuffle(a[2], a[3], Pick{0, 4, 1, 5}),
             high2 = __builtin_shuffle(a[2], a[3], Pick{2, 6, 3, 7});
  a[0] = __builtin_shuffle(low, low2, Pick{0, 1, 4, 5});
  a[1] = __builtin_shuffle(low, low2, Pick{2, 3, 6, 7});
  a[2] = __builtin_shuffle(high, high2, Pick{0, 1, 4, 5});
  a[3] = __builtin_shuffle(high, high2, Pick{2, 3, 6, 7});
}

inline void lanes_to_quads(const Vec (&lanes)[4], Quad* quads) {
  Quad from[4][kQuads];
  std::memcpy(from, lanes, sizeof from);
  for (int i = 0; i < kQuads; i++) {
    Quad square[4] = {from[0][i], from[1][i], from[2][i], from[3][i]};
    turn(square);
    std::copy_n(square, 4, quads + 4 * i);
  }
}

inline void quads_to_lanes(const Quad* quads, Vec (&lanes)[4]) {
  Quad to[4][kQuads];
  for (int i = 0; i < kQuads; i++) {
    Quad square[4] = {quads[4 * i], quads[4 * i + 1], quads[4 * i + 2], quads[4 * i + 3]};
    turn(square);
    for (int m = 0; m < 4; m++) to[m][i] = square[m];
  }
  std::memcpy(lanes, to, sizeof to);
}

// The moments of one atom, a row [function][harmonic]. Ranges of functions, one for each element and
// set, grow to hold what the neighbours reach.
inline void spline_sum(const Model& model, const Neighbourhood& near, Quad* row,
                       std::vector<Range>& ranges) {
  const int elements = static_cast<int>(model.elements.size());
  std::fill_n(row, model.functions(), Quad{});
  Window splines;
  alignas(64) float values[kWindow][kLanes];
  Quad harmonics[kLanes];
  for (int e = 0; e < elements; e++) {
    int most = 0;
    for (int block = near.first[e]; block < near.first[e + 1]; block++) {
      const int at = block * kLanes;
      const Switched g = switched(&near.x[at], &near.y[at], &near.z[at], model);
      window(model, g, splines);
      lanes_to_quads({splat(1.0f), g.x, g.y, g.z}, harmonics);
      for (int set = 0; set < model.sets; set++) {
        const Vec f = set ? g.w * g.s : g.s;
        for (int k = 0; k < kWindow; k++) store(values[k], f * splines.quintic[k]);
        Quad* to = row + (e * model.sets + set) * model.nodes;
        for (int q = 0; q < kLanes; q++) {
          Quad* own = to + splines.first[q];
#pragma GCC unroll 8
          for (int k = 0; k < kWindow; k++) own[k] += values[k][q] * harmonics[q];
        }
      }
      for (int q = 0; q < kLanes; q++) most = std::max(most, splines.first[q] + kWindow);
    }
    for (int set = 0; set < model.sets; set++) {
      int& count = ranges[e * model.sets + set].count;
      count = std::max(count, (most + 3) / 4 * 4);
    }
  }
}

// A row holds the gradients by the moments, as coefficients of quintic splines, then their
// derivatives by s, as coefficients of quartic ones: differences of rounded numbers would be worse.
inline void spline_pull(const Model& model, const Neighbourhood& near, const Quad* row,
                        PairForces& forces) {
  const int elements = static_cast<int>(model.elements.size());
  Window splines;
  alignas(64) float quintic[kWindow][kLanes], quartic[kDegree][kLanes];
  for (int e = 0; e < elements; e++)
    for (int block = near.first[e]; block < near.first[e + 1]; block++) {
      const int at = block * kLanes;
      const Switched g = switched(&near.x[at], &near.y[at], &near.z[at], model);
      window(model, g, splines);
      for (int k = 0; k < kWindow; k++) store(quintic[k], splines.quintic[k]);
      for (int k = 0; k < kDegree; k++) store(quartic[k], splines.quartic[k]);
      Vec value[4] = {}, slope[4] = {};
      for (int set = 0; set < model.sets; set++) {
        const Quad* from = row + (e * model.sets + set) * model.nodes;
        Quad sums[2][kLanes];
        for (int q = 0; q < kLanes; q++) {
          const Quad *own = from + splines.first[q], *slopes = own + model.functions();
          Quad sum = quintic[kDegree][q] * own[kDegree], slope = Quad{};
#pragma GCC unroll 8
          for (int k = 0; k < kDegree; k++)
            sum += quintic[k][q] * own[k], slope += quartic[k][q] * slopes[k];
          sums[0][q] = sum, sums[1][q] = slope;
        }
        Vec by[4], by_s[4];
        quads_to_lanes(sums[0], by), quads_to_lanes(sums[1], by_s);
        const Vec f = set ? g.w * g.s : g.s, along = f * g.s_slope * splines.inside;
        const Vec df = set ? g.w * g.s_slope + g.w_slope * g.s : g.s_slope;
        for (int m = 0; m < 4; m++) {
          value[m] += f * by[m];
          slope[m] += df * by[m] + along * by_s[m];
        }
      }
      const Vec radial = slope[0] + slope[1] * g.x + slope[2] * g.y + slope[3] * g.z;
      const Vec inward = value[1] * g.x + value[2] * g.y + value[3] * g.z;
      const Vec along = radial - inward * g.inverse;
      forces.add(at, along * g.x + value[1] * g.inverse, along * g.y + value[2] * g.inverse,
                 along * g.z + value[3] * g.inverse);
    }
  forces.finish();
}

// What block() asks of a set of functions.
struct SplineFunctions {
  static std::size_t row_size(const Model& model) { return 2 * model.functions() / 4; }

  static void ranges(const Model& model, std::vector<Range>& ranges) {
    ranges.clear();
    for (int first = 0; first < model.functions(); first += model.nodes) ranges.push_back({first, 0});
  }

  static void sum(const Model& model, const Neighbourhood& near, Vec* row,
                  std::vector<Range>& ranges) {
    spline_sum(model, near, reinterpret_cast<Quad*>(row), ranges);
  }

  // Four functions with four harmonics make a vector.
  static void to_lanes(const Model& model, const std::vector<Range>& ranges, const Vec* rows,
                       Vec* lanes) {
    const std::size_t size = row_size(model);
    for (const Range& range : ranges)
      for (int at = range.first / 4; at < (range.first + range.count) / 4; at++)
        for (int v = 0; v < kVecs; v++) {
          Vec square[kLanes];
          for (int a = 0; a < kLanes; a++) square[a] = rows[(v * kLanes + a) * size + at];
          transpose(square);
          for (int i = 0; i < kLanes; i++) lanes[(at * kLanes + i) * kVecs + v] = square[i];
        }
  }

  static void to_rows(const Model& model, const std::vector<Range>& ranges, const Vec* lanes,
                      Vec* rows) {
    const int half = model.functions() / 4;
    for (const Range& range : ranges)
      for (const int first : {range.first / 4, range.first / 4 + half})
        for (int at = first; at < first + range.count / 4; at++)
          for (int v = 0; v < kVecs; v++) {
            Vec square[kLanes];
            for (int i = 0; i < kLanes; i++) square[i] = lanes[(at * kLanes + i) * kVecs + v];
            transpose(square);
            for (int a = 0; a < kLanes; a++) rows[(v * kLanes + a) * 2 * half + at] = square[a];
          }
  }

  static void pull(const Model& model, const Neighbourhood& near, const Vec* row,
                   PairForces& forces) {
    spline_pull(model, near, reinterpret_cast<const Quad*>(row), forces);
  }
};

}  // namespace HUOZI_ISA
