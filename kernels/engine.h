// All blocks of a configuration, shared between threads. Included once per instruction set.
#pragma once

#include <atomic>
#include <exception>
#include <memory>

#include "lists.h"
#include "block.h"

namespace HUOZI_ISA {

// Buffers of one thread, kept from call to call.
struct Buffers {
  std::uint64_t model = 0;
  std::unique_ptr<Workspace> work;
  std::vector<double> forces, virials;
};

inline Buffers& buffers_of_thread(const Model& model) {
  thread_local Buffers buffers;
  if (buffers.model != model.number) {
    const std::size_t size = model.nodes ? SplineFunctions::row_size(model)
                                         : MomentFunctions<0>::row_size(model);
    buffers.work = std::make_unique<Workspace>(model, size);
    buffers.model = model.number;
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

// Adds the threads' arrays, in their order; called by all threads. A thread that did several shares
// has one array for them.
inline void add_parts(std::vector<const double*>& parts, std::size_t size, double* sums) {
#pragma omp single
  std::erase(parts, nullptr);
#pragma omp for schedule(static)
  for (std::size_t i = 0; i < size; i++) {
    double sum = 0;
    for (const double* part : parts) sum += part[i];
    sums[i] += sum;
  }
}

// Blocks are dealt out in the same way every time, so that sums are the same every time.
template <class List>
void compute(const Model& model, const List& list, const int* kinds, int local, int total,
             const huozi_output& out, int threads) {
  std::vector<int> order;
  const std::vector<Block> blocks = blocks_of(model, local, kinds, order);
  const int count = static_cast<int>(blocks.size());
  threads = std::max(1, std::min(threads, count));
  std::vector<const double*> forces(threads, nullptr), virials(threads, nullptr);
  std::vector<std::exception_ptr> failures(threads);
  std::atomic<bool> failed{false};
  std::vector<double> sums(threads * 8, 0.0);
  const auto own = [total](int components, std::vector<double>& room) {
    room.assign(static_cast<std::size_t>(total) * components, 0.0);
    return room.data();
  };

#pragma omp parallel num_threads(threads)
  {
    // OpenMP may give fewer threads than asked for; then one does several shares.
    bool first = true;
#pragma omp for schedule(static, 1)
    for (int t = 0; t < threads; t++) try {
        Buffers& mine = buffers_of_thread(model);
        huozi_output part = out;
        double energy = 0, virial[6] = {};
        part.energy = &energy;
        if (out.virial) part.virial = virial;
        if (threads > 1) {
          if (first && out.forces) forces[t] = own(3, mine.forces);
          if (first && out.atom_virials) virials[t] = own(6, mine.virials);
          if (out.forces) part.forces = mine.forces.data();
          if (out.atom_virials) part.atom_virials = mine.virials.data();
          first = false;
        }
        const int from = static_cast<int>(static_cast<std::int64_t>(count) * t / threads);
        const int to = static_cast<int>(static_cast<std::int64_t>(count) * (t + 1) / threads);
        for (int b = from; b < to; b++) {
          const Block& at = blocks[b];
          const int* atoms = order.data() + at.first;
          const auto run = [&]<class Functions>(Functions) {
            block<Functions>(model, at.kind, atoms, at.count, list, *mine.work, part);
          };
          if (model.nodes)
            run(SplineFunctions{});
          else if (model.radial == 12)
            run(MomentFunctions<12>{});
          else
            run(MomentFunctions<0>{});
        }
        sums[8 * t] = energy;
        for (int k = 0; k < 6; k++) sums[8 * t + 1 + k] = virial[k];
      } catch (...) {  // must not leave the loop; most likely there is no memory left
        failures[t] = std::current_exception();
        failed = true;
      }
    if (!failed && threads > 1) {
      const std::size_t atoms = total;
      if (out.forces) add_parts(forces, 3 * atoms, out.forces);
      if (out.atom_virials) add_parts(virials, 6 * atoms, out.atom_virials);
    }
  }
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
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
