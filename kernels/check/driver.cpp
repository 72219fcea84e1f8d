// Runs every entry of the C interface under the sanitizers of check.sh: MODEL files as arguments.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "../dispatch.h"
#include "../huozi.h"

static std::mt19937 generator(1);

static double uniform(double from, double to) {
  return std::uniform_real_distribution<double>(from, to)(generator);
}

// Against the standard library; few keys, so that positions decide.
static void order(std::vector<std::vector<int>>& rows, const std::vector<int>& counts, int total,
                  const std::vector<double>& x, int threads) {
  std::vector<unsigned> keys(total);
  for (unsigned& key : keys) key = static_cast<unsigned>(uniform(0, 9)) * 2654435769u;
  std::vector<int> atoms(rows.size());
  std::vector<int*> pointers(rows.size());
  std::vector<std::vector<int>> expected = rows;
  for (std::size_t i = 0; i < rows.size(); i++) {
    atoms[i] = static_cast<int>(i), pointers[i] = rows[i].data();
    std::sort(expected[i].begin(), expected[i].end(), [&](int a, int b) {
      const int i = a & 0x1FFFFFFF, j = b & 0x1FFFFFFF;
      return keys[i] != keys[j] ? keys[i] < keys[j] : x[3 * i] < x[3 * j];
    });
  }
  huozi_order_neighbours(static_cast<int>(rows.size()), atoms.data(), counts.data(),
                         pointers.data(), keys.data(), x.data(), threads);
  if (rows != expected) std::puts("failed: order of neighbours"), std::exit(1);
}

// Atoms and ghosts at random in the open; some of no element of the model.
static void compute(const huozi_model* model, int local, int ghosts, double edge, int threads) {
  const int total = local + ghosts, elements = huozi_model_elements(model, nullptr);
  std::vector<double> x(3 * total), energies(local), forces(3 * total), virials(6 * total);
  std::vector<int> kinds(total), counts(local);
  for (double& v : x) v = uniform(0, edge);
  for (int& k : kinds) k = static_cast<int>(uniform(-0.3, elements));
  for (int& k : kinds) k = uniform(0, 1) < 0.1 ? -1 : k;
  std::vector<std::vector<int>> rows(local);
  std::vector<const int*> pointers(local);
  for (int i = 0; i < local; i++) {
    for (int j = 0; j < total; j++) {
      double square = 0;
      for (int k = 0; k < 3; k++) square += std::pow(x[3 * i + k] - x[3 * j + k], 2);
      if (j != i && square < std::pow(huozi_model_cutoff(model) + 0.5, 2))
        rows[i].push_back(j | static_cast<int>(static_cast<unsigned>(j % 4) << 30));
    }
    counts[i] = static_cast<int>(rows[i].size()), pointers[i] = rows[i].data();
  }
  order(rows, counts, total, x, threads);
  double energy = 0, virial[6] = {};
  const huozi_atoms atoms{local, total, x.data(), kinds.data(), counts.data(), pointers.data()};
  const huozi_output all{&energy, energies.data(), forces.data(), virial, virials.data()};
  const huozi_output least{&energy, nullptr, nullptr, nullptr, nullptr};
  char message[200] = "";
  for (const huozi_output* output : {&all, &least})
    if (huozi_compute(model, &atoms, output, threads, message, sizeof message) ||
        !std::isfinite(energy)) {
      std::fprintf(stderr, "failed: %s, energy %g\n", message, energy);
      std::exit(1);
    }
}

static void neighbours(int n, double edge, const unsigned char (&periodic)[3]) {
  std::vector<double> x(3 * n);
  for (double& v : x) v = uniform(-edge, 2 * edge);
  const double cell[9] = {edge, 0, 0, 0, edge, 0, 0, 0, edge};
  const double inverse[9] = {1 / edge, 0, 0, 0, 1 / edge, 0, 0, 0, 1 / edge};
  for (int width = 1;;) {
    std::vector<int> index(n * width), shift(3 * n * width), reverse(n * width);
    std::vector<unsigned char> mask(n * width);
    const int needed = huozi_neighbours(n, x.data(), cell, inverse, periodic, 5.0, width,
                                        index.data(), shift.data(), reverse.data(), mask.data());
    if (needed <= width) return;
    width = needed;
  }
}

// Arrays of exactly the size that is read and written.
static void attention(const huozi::AttentionShape& shape, int walkers) {
  const std::size_t size = static_cast<std::size_t>(walkers) * (shape.coordinates + 2) *
                           shape.electrons * shape.heads * shape.channels;
  std::vector<float> q(size), k(size), v(size), out(size, NAN);
  for (std::vector<float>* each : {&q, &k, &v})
    for (float& x : *each) x = static_cast<float>(uniform(-1, 1));
  huozi::attend(shape, q.data(), k.data(), v.data(), out.data(), 0, walkers);
  if (!std::all_of(out.begin(), out.end(), [](float x) { return std::isfinite(x); }))
    std::puts("failed: attention"), std::exit(1);
}

int main(int count, char** words) {
  std::printf("instructions: %s\n", huozi_instruction_set());
  char message[200] = "";
  for (int m = 1; m < count; m++) {
    // Loading and freeing in turn gives a model the address of another of other sizes.
    for (int n = 1; n < count; n++) {
      huozi_model* model = huozi_model_load(words[n], message, sizeof message);
      if (!model) return std::fprintf(stderr, "%s\n", message), 1;
      for (int threads : {1, 2})
        for (int local : {0, 1, 31, 33, 70}) {
          compute(model, local, 0, 40.0, threads);
          compute(model, local, 40, 7.0, threads);
        }
      huozi_model_free(model);
    }
    std::ifstream stream(words[m], std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(stream), {}};
    for (int trial = 0; trial < 300; trial++) {
      std::string broken = content.substr(0, trial % 3 ? content.size() : trial * 7);
      for (int k = 0; k < 3 && !broken.empty(); k++)
        broken[static_cast<std::size_t>(uniform(0, std::min<double>(broken.size(), 1500)))] =
            static_cast<char>(uniform(0, 255));
      for (int member : {0, 1})
        huozi_model_free(
            huozi_member_parse(broken.data(), broken.size(), member, message, sizeof message));
    }
  }
  for (unsigned char p = 0; p < 8; p++) {
    const unsigned char periodic[3] = {static_cast<unsigned char>(p & 1),
                                       static_cast<unsigned char>(p >> 1 & 1),
                                       static_cast<unsigned char>(p >> 2 & 1)};
    neighbours(1, 2.0, periodic);
    neighbours(3, 3.0, periodic);
    neighbours(200, 12.0, periodic);
  }
  for (int electrons : {1, 2, 5, 6, 11})
    for (int channels : {1, 3, 4, 5, 8}) attention({3 * electrons, electrons, 2, channels}, 3);
  std::puts("no fault found");
}
