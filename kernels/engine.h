// All blocks of a configuration, shared between threads. Included once per instruction set.
#pragma once

#include <memory>

#include "lists.h"
#include "moment.h"

namespace HUOZI_ISA {

// Buffers of one thread, kept from call to call.
struct Buffers {
  const Model* model = nullptr;
  std::unique_ptr<Workspace> work;
  std::vector<double> forces;
};

inline Buffers& buffers_of_thread(const Model& model) {
  thread_local Buffers buffers;
  if (buffers.model != &model) {
    buffers.work = std::make_unique<Workspace>(model);
    buffers.model = &model;
  }
  return buffers;
}

struct Block {
  int kind, first, count;
};

// Atoms of each element in turn, cut into blocks.
inline std::vector<Block> blocks_of(const Model& model, int local, const int* kinds,
                                    std::vector<int>& order) {
  std::vector<Block> blocks;
  order.clear();
  for (int kind = 0; kind < static_cast<int>(model.elements.size()); kind++) {
    const int begin = static_cast<int>(order.size());
    for (int i = 0; i < local; i++)
      if (kinds[i] == kind) order.push_back(i);
    const int end = static_cast<int>(order.size());
    for (int i = begin; i < end; i += kBlock) blocks.push_back({kind, i, std::min(kBlock, end - i)});
  }
  return blocks;
}

// Blocks are dealt out in the same way every time, so that sums are the same every time.
template <class List>
void compute(const Model& model, const List& list, const int* kinds, int local, int total,
             const huozi_output& out, int threads) {
  std::vector<int> order;
  const std::vector<Block> blocks = blocks_of(model, local, kinds, order);
  const int count = static_cast<int>(blocks.size());
  threads = std::max(1, std::min(threads, count));
  std::vector<const double*> parts(threads, nullptr);
  std::vector<double> sums(threads * 8, 0.0);
  const std::size_t size = 3 * static_cast<std::size_t>(total);

#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static, 1)
    for (int t = 0; t < threads; t++) {
      Buffers& mine = buffers_of_thread(model);
      huozi_output part = out;
      double energy = 0, virial[6] = {};
      part.energy = &energy;
      if (out.virial) part.virial = virial;
      if (out.forces && threads > 1) {
        mine.forces.assign(size, 0.0);
        part.forces = mine.forces.data();
        parts[t] = part.forces;
      }
      const int from = static_cast<int>(static_cast<std::int64_t>(count) * t / threads);
      const int to = static_cast<int>(static_cast<std::int64_t>(count) * (t + 1) / threads);
      for (int b = from; b < to; b++) {
        const Block& at = blocks[b];
        const int* atoms = order.data() + at.first;
        if (model.radial == 12)
          block<12>(model, at.kind, atoms, at.count, list, *mine.work, part);
        else
          block<0>(model, at.kind, atoms, at.count, list, *mine.work, part);
      }
      sums[8 * t] = energy;
      for (int k = 0; k < 6; k++) sums[8 * t + 1 + k] = virial[k];
    }
    if (out.forces && threads > 1) {
#pragma omp for schedule(static)
      for (std::size_t i = 0; i < size; i++) {
        double sum = 0;
        for (const double* part : parts) sum += part[i];
        out.forces[i] += sum;
      }
    }
  }
  for (int t = 0; t < threads; t++) {
    *out.energy += sums[8 * t];
    if (out.virial)
      for (int k = 0; k < 6; k++) out.virial[k] += sums[8 * t + 1 + k];
  }
}

template void compute(const Model&, const huozi::GhostList&, const int*, int, int,
                      const huozi_output&, int);
template void compute(const Model&, const huozi::DenseList&, const int*, int, int,
                      const huozi_output&, int);

}  // namespace HUOZI_ISA
