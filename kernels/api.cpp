// The C interface.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

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
  try {
    return new huozi_model{huozi::parse_model(std::string(content, length))};
  } catch (const std::exception& error) {
    say(message, size, error.what());
    return nullptr;
  }
}

void huozi_model_free(huozi_model* model) { delete model; }

double huozi_model_cutoff(const huozi_model* model) { return model->model->cutoff; }

int huozi_model_elements(const huozi_model* model, int* numbers) {
  const auto& elements = model->model->elements;
  if (numbers)
    for (std::size_t i = 0; i < elements.size(); i++) numbers[i] = elements[i].number;
  return static_cast<int>(elements.size());
}

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
