// Neighbour table by a cell list; periodic in any directions, cells of any shape and size.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "huozi.h"

namespace {

// Bins along the lattice vectors, and the atoms sorted into them.
struct Grid {
  int bins[3], reach[3];
  double low[3], extent[3];      // fractional range along open directions
  std::vector<int> first, atom;  // first atom of each bin; atoms in the order of their bins
  std::vector<double> place;     // Cartesian, wrapped, in that order
  std::vector<int> wrapped;      // lattice vectors taken off each atom, by atom
  std::vector<int> bin;          // by atom, three numbers
};

void fractional(const double* inverse, const double* position, double (&f)[3]) {
  for (int k = 0; k < 3; k++)
    f[k] = position[0] * inverse[k] + position[1] * inverse[3 + k] + position[2] * inverse[6 + k];
}

Grid make_grid(int n, const double* positions, const double* cell, const double* inverse,
               const unsigned char* periodic, double cutoff) {
  Grid grid;
  std::vector<double> f(3 * static_cast<std::size_t>(n));
  grid.wrapped.assign(f.size(), 0);
  grid.bin.resize(f.size());
  double high[3];
  for (int k = 0; k < 3; k++) grid.low[k] = 1e300, high[k] = -1e300;
  for (int i = 0; i < n; i++) {
    double one[3];
    fractional(inverse, positions + 3 * static_cast<std::size_t>(i), one);
    for (int k = 0; k < 3; k++) {
      if (periodic[k]) {
        const double floor = std::floor(one[k]);
        grid.wrapped[3 * i + k] = static_cast<int>(floor);
        one[k] -= floor;
      }
      grid.low[k] = std::min(grid.low[k], one[k]), high[k] = std::max(high[k], one[k]);
      f[3 * i + k] = one[k];
    }
  }
  double thickness[3];
  for (int k = 0; k < 3; k++) {
    if (periodic[k]) grid.low[k] = 0, high[k] = 1;
    grid.extent[k] = std::max(high[k] - grid.low[k], 1e-9);
    const double norm = std::sqrt(inverse[k] * inverse[k] + inverse[3 + k] * inverse[3 + k] +
                                  inverse[6 + k] * inverse[6 + k]);
    thickness[k] = grid.extent[k] / norm;
    // Half a cutoff wide: fewer candidates than bins as wide as the cutoff, few bins to visit.
    grid.bins[k] = static_cast<int>(std::clamp(2 * thickness[k] / cutoff, 1.0, 1000.0));
  }
  while (static_cast<double>(grid.bins[0]) * grid.bins[1] * grid.bins[2] > 4.0 * n + 64) {
    int* most = std::max_element(grid.bins, grid.bins + 3);
    *most = (*most + 1) / 2;
  }
  for (int k = 0; k < 3; k++) {
    const double reach = std::ceil(cutoff * grid.bins[k] / thickness[k]);
    grid.reach[k] = static_cast<int>(periodic[k] ? reach : std::min(reach, grid.bins[k] - 1.0));
  }

  const auto flat = [&](const int* b) { return (b[0] * grid.bins[1] + b[1]) * grid.bins[2] + b[2]; };
  grid.first.assign(grid.bins[0] * grid.bins[1] * grid.bins[2] + 1, 0);
  for (int i = 0; i < n; i++) {
    for (int k = 0; k < 3; k++) {
      const double part = (f[3 * i + k] - grid.low[k]) / grid.extent[k];
      grid.bin[3 * i + k] = std::clamp(static_cast<int>(part * grid.bins[k]), 0, grid.bins[k] - 1);
    }
    grid.first[flat(&grid.bin[3 * i]) + 1]++;
  }
  for (std::size_t b = 1; b < grid.first.size(); b++) grid.first[b] += grid.first[b - 1];
  std::vector<int> next(grid.first.begin(), grid.first.end() - 1);
  grid.atom.resize(n);
  grid.place.resize(f.size());
  for (int i = 0; i < n; i++) {
    const int to = next[flat(&grid.bin[3 * i])]++;
    grid.atom[to] = i;
    for (int k = 0; k < 3; k++) {
      double x = positions[3 * static_cast<std::size_t>(i) + k];
      for (int v = 0; v < 3; v++) x -= grid.wrapped[3 * i + v] * cell[3 * v + k];
      grid.place[3 * static_cast<std::size_t>(to) + k] = x;
    }
  }
  return grid;
}

// The table being filled: every pair takes a slot in the rows of both its atoms.
struct Table {
  int n, width;
  std::int32_t *index, *shift, *reverse;
  unsigned char* mask;
  std::vector<int> used;

  void add(int i, int j, const int (&image)[3]) {
    const int si = used[i]++, sj = used[j]++;
    if (si >= width || sj >= width) return;
    const std::size_t a = static_cast<std::size_t>(i) * width + si,
                      b = static_cast<std::size_t>(j) * width + sj;
    index[a] = j, index[b] = i;
    reverse[a] = static_cast<std::int32_t>(b), reverse[b] = static_cast<std::int32_t>(a);
    mask[a] = mask[b] = 1;
    for (int k = 0; k < 3; k++) shift[3 * a + k] = image[k], shift[3 * b + k] = -image[k];
  }

  void pad() {
    for (int i = 0; i < n; i++)
      for (int s = used[i]; s < width; s++) {
        const std::size_t a = static_cast<std::size_t>(i) * width + s;
        index[a] = i, reverse[a] = static_cast<std::int32_t>(a), mask[a] = 0;
        shift[3 * a] = shift[3 * a + 1] = shift[3 * a + 2] = 0;
      }
  }
};

int floor_divide(int a, int b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

}  // namespace

int huozi_neighbours(int n, const double* positions, const double* cell, const double* inverse,
                     const unsigned char* periodic, double cutoff, int width, int* index,
                     int* shift, int* reverse, unsigned char* mask) {
  if (n == 0) return 0;
  const Grid grid = make_grid(n, positions, cell, inverse, periodic, cutoff);
  Table table{n, width, index, shift, reverse, mask, std::vector<int>(n, 0)};
  const double limit = cutoff * cutoff;
  const int* const bins = grid.bins;
  for (int at = 0; at < n; at++) {
    const int i = grid.atom[at];
    const double* p = &grid.place[3 * static_cast<std::size_t>(at)];
    const int* own = &grid.bin[3 * i];
    int b[3], t[3];
    const auto locate = [&](int k, int offset) {
      b[k] = own[k] + offset;
      t[k] = periodic[k] ? floor_divide(b[k], bins[k]) : 0;
      b[k] -= t[k] * bins[k];
      return b[k] >= 0 && b[k] < bins[k];
    };
    for (int x = -grid.reach[0]; x <= grid.reach[0]; x++) {
      if (!locate(0, x)) continue;
      for (int y = -grid.reach[1]; y <= grid.reach[1]; y++) {
        if (!locate(1, y)) continue;
        for (int z = -grid.reach[2]; z <= grid.reach[2]; z++) {
          if (!locate(2, z)) continue;
          double from[3];
          for (int k = 0; k < 3; k++)
            from[k] = t[0] * cell[k] + t[1] * cell[3 + k] + t[2] * cell[6 + k] - p[k];
          const int box = (b[0] * bins[1] + b[1]) * bins[2] + b[2];
          const bool ahead = t[0] > 0 || (t[0] == 0 && (t[1] > 0 || (t[1] == 0 && t[2] > 0)));
          for (int q = grid.first[box]; q < grid.first[box + 1]; q++) {
            const double* r = &grid.place[3 * static_cast<std::size_t>(q)];
            const double dx = r[0] + from[0], dy = r[1] + from[1], dz = r[2] + from[2];
            if (dx * dx + dy * dy + dz * dz >= limit) continue;
            const int j = grid.atom[q];
            if (j < i || (j == i && !ahead)) continue;  // seen from the other side
            int image[3];
            for (int k = 0; k < 3; k++)
              image[k] = t[k] - grid.wrapped[3 * j + k] + grid.wrapped[3 * i + k];
            table.add(i, j, image);
          }
        }
      }
    }
  }
  const int most = *std::max_element(table.used.begin(), table.used.end());
  if (most <= width) table.pad();
  return most;
}
