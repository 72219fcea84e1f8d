// A moment potential, or an expanded DeepPot-SE, as the kernel holds it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace huozi {

enum class Activation { silu, tanh };

struct Layer {
  int inputs = 0, outputs = 0;
  Activation activation = Activation::silu;
  std::vector<float> weight;  // inputs * outputs
  std::vector<float> bias;    // outputs
  std::vector<float> step;    // outputs, factors of the activation; or none
  int copies = 0;             // of the inputs, side by side, that are added to the outputs
};

// What belongs to the atoms of one element.
struct Element {
  int number = 0;   // atomic number
  double e0 = 0;    // energy of the isolated atom, eV
  double vacuum = 0;  // network at a zero descriptor, eV
  std::vector<std::vector<float>> mix;  // per degree: radial functions of all species * channels
  std::vector<std::vector<float>> mix_slope;  // of splines: for the derivatives by s
  std::vector<float> constant;  // added to harmonic 0 of each channel; or none
  std::vector<Layer> layers;
  std::vector<float> readout;
};

// Some of many, in a row.
struct Range {
  int first, count;
};

struct Model {
  std::uint64_t number = 0;  // of this model in this process; an address may be used again
  double cutoff = 0;  // Å
  int radial = 0, degree = 0, channels = 0;
  int linear = 0;             // channels whose harmonic 0 is an invariant by itself
  // For each partner, the channels whose products with it are invariants, and the harmonics over
  // which the products are summed.
  std::vector<std::vector<int>> partners;
  std::vector<Range> groups;
  // Of the radial functions of splines.h; no nodes: those of geometry.h.
  int nodes = 0, sets = 0;
  double onset = 0, end = 0;
  std::vector<Element> elements;
  int members = 1;  // models in the file that this one is from

  int functions() const { return radial * static_cast<int>(elements.size()); }
  int harmonics() const { return (degree + 1) * (degree + 1); }
};

// Of the element with this symbol; 0 if there is none.
int atomic_number(const std::string& symbol);

// One model of the contents of a file, 0 the first. Throws std::runtime_error with what was found
// and what to do.
std::unique_ptr<Model> parse_model(const std::string& content, int member = 0);

// The same for a file, whose name leads the message.
std::unique_ptr<Model> load_model(const std::string& path);

}  // namespace huozi
