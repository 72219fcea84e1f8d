// An order of neighbours that is the same whichever process owns an atom.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "lists.h"

namespace {

struct Entry {
  std::uint32_t key;
  int neighbour;
};

// The neighbours of one atom: into 256 boxes by the upper bits of their keys, which leaves little
// to insertion.
void order_row(int count, int* row, const std::uint32_t* keys, const double* positions,
               Entry* entries) {
  const auto atom = [](int neighbour) {
    return static_cast<std::size_t>(neighbour & huozi::kAtomBits);
  };
  const auto before = [&](const Entry& a, const Entry& b) {
    if (a.key != b.key) return a.key < b.key;
    const double *p = positions + 3 * atom(a.neighbour), *q = positions + 3 * atom(b.neighbour);
    return std::lexicographical_compare(p, p + 3, q, q + 3);
  };
  int next[257] = {};
  for (int s = 0; s < count; s++) next[(keys[atom(row[s])] >> 24) + 1]++;
  for (int box = 1; box < 256; box++) next[box] += next[box - 1];
  for (int s = 0; s < count; s++) {
    const std::uint32_t key = keys[atom(row[s])];
    entries[next[key >> 24]++] = {key, row[s]};
  }
  for (int s = 1; s < count; s++) {
    const Entry entry = entries[s];
    int to = s;
    for (; to > 0 && before(entry, entries[to - 1]); to--) entries[to] = entries[to - 1];
    entries[to] = entry;
  }
  for (int s = 0; s < count; s++) row[s] = entries[s].neighbour;
}

}  // namespace

void huozi_order_neighbours(int rows, const int* atoms, const int* counts, int* const* neighbours,
                            const unsigned* keys, const double* positions, int threads) {
  int longest = 0;
  for (int r = 0; r < rows; r++) longest = std::max(longest, counts[atoms[r]]);
  std::vector<std::vector<Entry>> room(threads, std::vector<Entry>(longest));
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int t = 0; t < threads; t++)
    for (int r = t; r < rows; r += threads)
      order_row(counts[atoms[r]], neighbours[atoms[r]], keys, positions, room[t].data());
}
