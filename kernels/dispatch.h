// Which build of the kernel suits the processor.
#pragma once

#include "jets.h"
#include "lists.h"
#include "model.h"

#define HUOZI_DECLARE(isa)                                                                 \
  namespace isa {                                                                          \
  template <class List>                                                                    \
  void compute(const huozi::Model&, const List&, const int*, int, int, const huozi_output&, int); \
  double multiplication_rate(int threads);                                                 \
  void attend(const huozi::AttentionShape&, const float*, const float*, const float*, float*, \
              int, int);                                                                   \
  }
HUOZI_DECLARE(portable)
#if defined(__x86_64__)
HUOZI_DECLARE(avx2)
HUOZI_DECLARE(avx512)
#endif

namespace huozi {

enum class InstructionSet { portable, avx2, avx512 };

// The best one; HUOZI_ISA in the environment may ask for a lesser one.
InstructionSet instruction_set();

inline double multiplication_rate(int threads) {
#if defined(__x86_64__)
  if (instruction_set() == InstructionSet::avx512) return avx512::multiplication_rate(threads);
  if (instruction_set() == InstructionSet::avx2) return avx2::multiplication_rate(threads);
#endif
  return portable::multiplication_rate(threads);
}

template <class List>
void compute(const Model& model, const List& list, const int* kinds, int local, int total,
             const huozi_output& out, int threads) {
#if defined(__x86_64__)
  if (instruction_set() == InstructionSet::avx512)
    return avx512::compute(model, list, kinds, local, total, out, threads);
  if (instruction_set() == InstructionSet::avx2)
    return avx2::compute(model, list, kinds, local, total, out, threads);
#endif
  portable::compute(model, list, kinds, local, total, out, threads);
}

inline void attend(const AttentionShape& shape, const float* q, const float* k, const float* v,
                   float* out, int first, int last) {
#if defined(__x86_64__)
  if (instruction_set() == InstructionSet::avx512)
    return avx512::attend(shape, q, k, v, out, first, last);
  if (instruction_set() == InstructionSet::avx2) return avx2::attend(shape, q, k, v, out, first, last);
#endif
  portable::attend(shape, q, k, v, out, first, last);
}

}  // namespace huozi
