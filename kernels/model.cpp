// Reads a Huozi model: safetensors with a JSON header, itself inside the metadata.
#include "model.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "json.h"

namespace huozi {
namespace {

constexpr const char* kFormat = "huozi-potential-2";
constexpr std::size_t kLargest = 1000000;  // of any size in an architecture

const char* const kSymbols[] = {
    "X",  "H",  "He", "Li", "Be", "B",  "C",  "N",  "O",  "F",  "Ne", "Na", "Mg", "Al", "Si",
    "P",  "S",  "Cl", "Ar", "K",  "Ca", "Sc", "Ti", "V",  "Cr", "Mn", "Fe", "Co", "Ni", "Cu",
    "Zn", "Ga", "Ge", "As", "Se", "Br", "Kr", "Rb", "Sr", "Y",  "Zr", "Nb", "Mo", "Tc", "Ru",
    "Rh", "Pd", "Ag", "Cd", "In", "Sn", "Sb", "Te", "I",  "Xe", "Cs", "Ba", "La", "Ce", "Pr",
    "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W",
    "Re", "Os", "Ir", "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac",
    "Th", "Pa", "U",  "Np", "Pu", "Am", "Cm", "Bk", "Cf", "Es", "Fm", "Md", "No", "Lr", "Rf",
    "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc", "Lv", "Ts", "Og"};

// A whole number from 0 to `most`.
std::size_t whole(const Json& value, std::size_t most) {
  const double number = value.number();
  if (!(number >= 0 && number <= static_cast<double>(most)) || number != std::floor(number))
    throw std::runtime_error("the header holds an impossible number; copy the model again");
  return static_cast<std::size_t>(number);
}

// One tensor of the file as floats.
std::vector<float> tensor(const Json& entry, const char* data, std::size_t size,
                          const std::string& name, const std::vector<std::size_t>& shape) {
  const auto& offsets = entry["data_offsets"].array();
  const std::string type = entry["dtype"].text();
  const std::size_t begin = whole(offsets.at(0), size), end = whole(offsets.at(1), size);
  std::size_t count = 1;
  for (std::size_t i = 0; i < shape.size(); i++) {
    if (entry["shape"].array().size() != shape.size() ||
        whole(entry["shape"].array()[i], kLargest) != shape[i] || count > size)
      throw std::runtime_error("tensor " + name + " has another shape than the architecture");
    count *= shape[i];
  }
  const std::size_t width = type == "F32" ? 4 : type == "F64" ? 8 : 0;
  if (!width) throw std::runtime_error("tensor " + name + " is of type " + type);
  if (end > size || begin > end || end - begin != count * width)
    throw std::runtime_error("tensor " + name + " is not whole; copy the model again");
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; i++) {
    if (width == 4) {
      std::memcpy(&values[i], data + begin + 4 * i, 4);
    } else {
      double value;
      std::memcpy(&value, data + begin + 8 * i, 8);
      values[i] = static_cast<float>(value);
    }
    if (!std::isfinite(values[i])) throw std::runtime_error("tensor " + name + " is not finite");
  }
  return values;
}

// Rows of the first layer for the invariants that the kernel keeps: those with k >= q, with the
// weights of the same product at (k, q) added.
std::vector<float> merge_symmetric(const std::vector<float>& weight, int outputs, int degree,
                                   int channels, int partners) {
  std::vector<float> merged(weight.begin(), weight.begin() + channels * outputs);
  for (int l = 0; l <= degree; l++)
    for (int q = 0; q < partners; q++)
      for (int k = q; k < channels; k++) {
        const auto row = [&](int a, int b) {
          return weight.data() + (channels + (l * partners + a) * channels + b) * outputs;
        };
        for (int j = 0; j < outputs; j++)
          merged.push_back(row(q, k)[j] + (k < partners && k != q ? row(k, q)[j] : 0.0f));
      }
  return merged;
}

double vacuum_energy(const Element& element) {
  std::vector<double> x(element.layers[0].inputs, 0.0);
  for (const Layer& layer : element.layers) {
    std::vector<double> next(layer.outputs);
    for (int j = 0; j < layer.outputs; j++) {
      double sum = layer.bias[j];
      for (int i = 0; i < layer.inputs; i++) sum += x[i] * layer.weight[i * layer.outputs + j];
      next[j] = sum / (1 + std::exp(-sum)) + (layer.residual ? x[j] : 0.0);
    }
    x = std::move(next);
  }
  double energy = 0;
  for (std::size_t j = 0; j < x.size(); j++) energy += x[j] * element.readout[j];
  return energy;
}

}  // namespace

int atomic_number(const std::string& symbol) {
  for (int z = 1; z < static_cast<int>(std::size(kSymbols)); z++)
    if (symbol == kSymbols[z]) return z;
  return 0;
}

std::unique_ptr<Model> parse_model(const std::string& content) {
  std::uint64_t length = 0;
  if (content.size() >= 8) std::memcpy(&length, content.data(), 8);
  if (content.size() < 10 || content[8] != '{' || length > content.size() - 8)
    throw std::runtime_error("not a whole safetensors file; copy the model again");
  const Json file = Json::parse(content.substr(8, length));
  if (!file.has("__metadata__") || !file["__metadata__"].has("huozi"))
    throw std::runtime_error("a safetensors file, but not a Huozi model (no header)");
  const Json header = Json::parse(file["__metadata__"]["huozi"].text());
  const std::string format = header["format"].text();
  if (format != kFormat)
    throw std::runtime_error("format " + format + "; this kernel reads " + kFormat);
  const Json& architecture = header["architecture"];
  if (architecture["name"].text() != "moment")
    throw std::runtime_error("the kernel runs the architecture moment, this is " +
                             architecture["name"].text());

  static std::atomic<std::uint64_t> models{0};
  auto model = std::make_unique<Model>();
  model->number = ++models;
  const auto integer = [&](const char* name) {
    return static_cast<int>(whole(architecture[name], kLargest));
  };
  model->cutoff = architecture["cutoff"].number();
  model->radial = integer("radial"), model->degree = integer("degree");
  model->channels = integer("channels");
  // More partners than channels would be counted twice; there are no more than that.
  model->partners = std::min(integer("partners"), model->channels);
  if (model->radial < 1 || model->radial > 40 || model->degree > 3 || !(model->cutoff > 0))
    throw std::runtime_error("an architecture that the kernel does not know");

  const char* data = content.data() + 8 + length;
  const std::size_t size = content.size() - 8 - length;
  const auto read = [&](const std::string& name, const std::vector<std::size_t>& shape) {
    return tensor(file[name], data, size, name, shape);
  };
  const auto& symbols = header["elements"].array();
  const std::size_t Z = symbols.size(), L = model->degree + 1, B = model->radial * Z,
                    K = model->channels;
  model->elements.resize(Z);
  const std::vector<float> mix = read("mix", {Z, L, B, K});
  const auto& hidden = architecture["hidden"].array();
  if (!Z || Z > 118 || hidden.empty()) throw std::runtime_error("no elements, or no network");
  const std::size_t width = whole(hidden.back(), kLargest);
  const std::vector<float> readout = read("readout", {Z, width});
  for (std::size_t z = 0; z < Z; z++) {
    Element& element = model->elements[z];
    element.number = atomic_number(symbols[z].text());
    if (!element.number) throw std::runtime_error("unknown element " + symbols[z].text());
    element.e0 = header["e0_eV"].array().at(z).number();
    for (std::size_t l = 0; l < L; l++)
      element.mix.emplace_back(mix.begin() + (z * L + l) * B * K,
                               mix.begin() + (z * L + l + 1) * B * K);
    element.readout.assign(readout.begin() + z * width, readout.begin() + (z + 1) * width);
  }
  std::size_t inputs = K + L * K * model->partners;
  for (std::size_t i = 0; i < hidden.size(); i++) {
    const std::size_t outputs = whole(hidden[i], kLargest);
    const std::string name = "layers." + std::to_string(i);
    const auto weight = read(name + ".weight", {Z, inputs, outputs});
    const auto bias = read(name + ".bias", {Z, outputs});
    for (std::size_t z = 0; z < Z; z++) {
      Layer layer;
      layer.residual = inputs == outputs;
      layer.outputs = static_cast<int>(outputs);
      layer.weight.assign(weight.begin() + z * inputs * outputs,
                          weight.begin() + (z + 1) * inputs * outputs);
      if (i == 0)
        layer.weight = merge_symmetric(layer.weight, layer.outputs, model->degree,
                                       model->channels, model->partners);
      layer.inputs = static_cast<int>(layer.weight.size() / outputs);
      layer.bias.assign(bias.begin() + z * outputs, bias.begin() + (z + 1) * outputs);
      model->elements[z].layers.push_back(std::move(layer));
    }
    inputs = outputs;
  }
  for (Element& element : model->elements) element.vacuum = vacuum_energy(element);
  return model;
}

std::unique_ptr<Model> load_model(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw std::runtime_error(path + ": no such model file, or it cannot be read");
  const std::string content{std::istreambuf_iterator<char>(stream), {}};
  try {
    return parse_model(content);
  } catch (const std::exception& error) {
    throw std::runtime_error(path + ": " + error.what());
  }
}

}  // namespace huozi
