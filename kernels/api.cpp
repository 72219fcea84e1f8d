// The C interface.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <vector>

#include "api.h"
#include "dispatch.h"

namespace huozi {

InstructionSet instruction_set() {
  static const InstructionSet chosen = [] {
    InstructionSet best = InstructionSet::portable;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = InstructionSet::avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
      best = InstructionSet::avx512;
#endif
    const char* wish = std::getenv("HUOZI_ISA");
    if (wish && !std::strcmp(wish, "portable")) return InstructionSet::portable;
    if (wish && !std::strcmp(wish, "avx2") && best == InstructionSet::avx512)
      return InstructionSet::avx2;
    return best;
  }();
  return chosen;
}

}  // namespace huozi

namespace {

void say(char* message, size_t size, const char* text) {
  if (message && size) std::snprintf(message, size, "%s", text);
}

// Bytes read and written a second by copies that no cache holds; the best of several.
double copy_rate(int threads) {
  constexpr std::size_t part = std::size_t{1} << 26;
  std::vector<char> from(part * threads, 1), to(part * threads, 2);
  double best = 0;
  for (int trial = 0; trial < 5; trial++) {
    const auto begun = std::chrono::steady_clock::now();
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
      std::memcpy(to.data() + part * t, from.data() + part * t, part);
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begun;
    best = std::max(best, 2.0 * static_cast<double>(part) * threads / spent.count());
  }
  return best;
}

}  // namespace

huozi_model* huozi_model_load(const char* path, char* message, size_t size) {
  try {
    return new huozi_model{huozi::load_model(path)};
  } catch (const std::exception& error) {
    say(message, size, error.what());
    return nullptr;
  }
}

huozi_model* huozi_model_parse(const char* content, size_t length, char* message, size_t size) {
  return huozi_member_parse(content, length, 0, message, size);
}

huozi_model* huozi_member_parse(const char* content, size_t length, int member, char* message,
                                size_t size) {
  try {
    return new huozi_model{huozi::parse_model(std::string(content, length), member)};
  } catch (const std::exception& error) {
    say(message, size, error.what());
    return nullptr;
  }
}

void huozi_model_free(huozi_model* model) { delete model; }

int huozi_model_members(const huozi_model* model) { return model->model->members; }

double huozi_model_cutoff(const huozi_model* model) { return model->model->cutoff; }

int huozi_model_elements(const huozi_model* model, int* numbers) {
  const auto& elements = model->model->elements;
  if (numbers)
    for (std::size_t i = 0; i < elements.size(); i++) numbers[i] = elements[i].number;
  return static_cast<int>(elements.size());
}

int huozi_atomic_number(const char* symbol) { return huozi::atomic_number(symbol); }

int huozi_compute(const huozi_model* model, const huozi_atoms* atoms, const huozi_output* output,
                  int threads, char* message, size_t size) {
  try {
    huozi::compute(*model->model, huozi::GhostList{*atoms}, atoms->kinds, atoms->local,
                   atoms->total, *output, threads);
    return 0;
  } catch (const std::exception& error) {
    say(message, size, error.what());
    return 1;
  }
}

void huozi_machine_peak(int threads, double* flops, double* bytes) {
  *flops = huozi::multiplication_rate(threads);
  *bytes = copy_rate(threads);
}

const char* huozi_instruction_set(void) {
  switch (huozi::instruction_set()) {
    case huozi::InstructionSet::avx512:
      return "avx512";
    case huozi::InstructionSet::avx2:
      return "avx2";
    default:
      return "portable";
  }
}
