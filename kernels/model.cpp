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
void merge_symmetric(const Model& model, Layer& first) {
  const int K = model.channels, Q = static_cast<int>(model.partners.size());
  const std::vector<float> weight = std::move(first.weight);
  const auto row = [&](int l, int q, int k) { return &weight[((l * Q + q + 1) * K + k) * first.outputs]; };
  first.weight.assign(weight.begin(), weight.begin() + K * first.outputs);
  for (int l = 0; l <= model.degree; l++)
    for (int q = 0; q < Q; q++)
      for (int k = q; k < K; k++)
        for (int j = 0; j < first.outputs; j++)
          first.weight.push_back(row(l, q, k)[j] + (k < Q && k != q ? row(l, k, q)[j] : 0.0f));
  first.inputs = static_cast<int>(first.weight.size() / first.outputs);
}

// Invariants of an atom without neighbours, where only the constant is left.
std::vector<double> vacuum_invariants(const Model& model, const Element& element) {
  std::vector<double> x(element.layers[0].inputs, 0.0);
  if (element.constant.empty()) return x;
  const std::vector<float>& c = element.constant;
  std::copy_n(c.begin(), model.linear, x.begin());
  std::size_t at = model.linear;
  for (const Range& group : model.groups)
    for (std::size_t q = 0; q < model.partners.size(); q++)
      for (const int k : model.partners[q])
        x[at++] = group.first == 0 ? static_cast<double>(c[q]) * c[k] : 0.0;
  return x;
}

double vacuum_energy(const Model& model, const Element& element) {
  std::vector<double> x = vacuum_invariants(model, element);
  for (const Layer& layer : element.layers) {
    std::vector<double> next(layer.outputs);
    for (int j = 0; j < layer.outputs; j++) {
      double sum = layer.bias[j];
      for (int i = 0; i < layer.inputs; i++) sum += x[i] * layer.weight[i * layer.outputs + j];
      next[j] = layer.activation == Activation::silu
                    ? sum / (1 + std::exp(-sum))
                    : (layer.step.empty() ? 1.0 : layer.step[j]) * std::tanh(sum);
      if (layer.copies) next[j] += x[j % layer.inputs];
    }
    x = std::move(next);
  }
  double energy = 0;
  for (std::size_t j = 0; j < x.size(); j++) energy += x[j] * element.readout[j];
  return energy;
}

// One model of a file: its header, and the tensors behind it. Headers of further models are a list
// in that of the first, their tensors have names with a prefix: members.1.readout.
class File {
 public:
  File(const std::string& content, int member) {
    std::uint64_t length = 0;
    if (content.size() >= 8) std::memcpy(&length, content.data(), 8);
    if (content.size() < 10 || content[8] != '{' || length > content.size() - 8)
      throw std::runtime_error("not a whole safetensors file; copy the model again");
    entries_ = Json::parse(content.substr(8, length));
    if (!entries_.has("__metadata__") || !entries_["__metadata__"].has("huozi"))
      throw std::runtime_error("a safetensors file, but not a Huozi model (no header)");
    header = Json::parse(entries_["__metadata__"]["huozi"].text());
    const std::string format = header["format"].text();
    if (format != kFormat)
      throw std::runtime_error("format " + format + "; this kernel reads " + kFormat);
    data_ = content.data() + 8 + length;
    size_ = content.size() - 8 - length;
    if (header.has("members"))
      members = 1 + static_cast<int>(std::min(header["members"].array().size(), kLargest));
    if (member < 0 || member >= members)
      throw std::runtime_error("no model " + std::to_string(member + 1) + " among " +
                               std::to_string(members));
    if (!member) return;
    const Json own = header["members"].array()[member - 1];
    header = own;
    prefix_ = "members." + std::to_string(member) + ".";
  }

  std::vector<float> read(const std::string& name, const std::vector<std::size_t>& shape) const {
    return tensor(entries_[prefix_ + name], data_, size_, prefix_ + name, shape);
  }
  bool has(const std::string& name) const { return entries_.has(prefix_ + name); }

  Json header;
  int members = 1;

 private:
  Json entries_;
  std::string prefix_;
  const char* data_ = nullptr;
  std::size_t size_ = 0;
};

int integer(const Json& settings, const char* name) {
  return static_cast<int>(whole(settings[name], kLargest));
}

[[noreturn]] void unknown_architecture() {
  throw std::runtime_error("an architecture that the kernel does not know");
}

// A layer of `stack` networks.
std::vector<Layer> read_layers(const File& file, const std::string& name, std::size_t stack,
                               std::size_t inputs, std::size_t outputs) {
  const auto weight = file.read(name + ".weight", {stack, inputs, outputs});
  const auto bias = file.read(name + ".bias", {stack, outputs});
  std::vector<float> step;
  if (file.has(name + ".step")) step = file.read(name + ".step", {stack, outputs});
  std::vector<Layer> layers(stack);
  for (std::size_t s = 0; s < stack; s++) {
    const auto part = [s](const std::vector<float>& all, std::size_t size) {
      return std::vector<float>(all.begin() + s * size, all.begin() + (s + 1) * size);
    };
    Layer& layer = layers[s];
    layer.inputs = static_cast<int>(inputs), layer.outputs = static_cast<int>(outputs);
    layer.weight = part(weight, inputs * outputs), layer.bias = part(bias, outputs);
    if (!step.empty()) layer.step = part(step, outputs);
  }
  return layers;
}

// The network of each element, from its first layer on; the file has `stack` of the rest, one for
// each element or one for all.
void read_networks(const File& file, Model& model, const Json& widths, std::size_t stack,
                   std::vector<Layer> first) {
  for (std::size_t z = 0; z < model.elements.size(); z++)
    model.elements[z].layers.push_back(std::move(first[z]));
  std::size_t inputs = whole(widths.array()[0], kLargest);
  for (std::size_t i = 1; i < widths.array().size(); i++) {
    const std::size_t outputs = whole(widths.array()[i], kLargest);
    std::vector<Layer> layers =
        read_layers(file, "layers." + std::to_string(i), stack, inputs, outputs);
    for (Layer& layer : layers) layer.copies = inputs == outputs ? 1 : 0;
    for (std::size_t z = 0; z < model.elements.size(); z++)
      model.elements[z].layers.push_back(layers[stack == 1 ? 0 : z]);
    inputs = outputs;
  }
  const auto readout = file.read("readout", {stack, inputs});
  for (std::size_t z = 0; z < model.elements.size(); z++) {
    const auto from = readout.begin() + (stack == 1 ? 0 : z * inputs);
    model.elements[z].readout.assign(from, from + inputs);
  }
}

std::size_t first_width(const Json& architecture) {
  const auto& widths = architecture["hidden"].array();
  if (widths.empty()) throw std::runtime_error("no elements, or no network");
  return whole(widths[0], kLargest);
}

// Maps from radial functions of all species to channels, by degree.
void read_mix(const File& file, const std::string& name, Model& model,
              std::vector<std::vector<float>> Element::*mixes) {
  const std::size_t Z = model.elements.size(), L = model.degree + 1, B = model.functions(),
                    K = model.channels;
  const std::vector<float> mix = file.read(name, {Z, L, B, K});
  for (std::size_t z = 0; z < Z; z++)
    for (std::size_t l = 0; l < L; l++)
      (model.elements[z].*mixes)
          .emplace_back(mix.begin() + (z * L + l) * B * K, mix.begin() + (z * L + l + 1) * B * K);
}

void read_moment(const File& file, const Json& architecture, Model& model) {
  model.cutoff = architecture["cutoff"].number();
  model.radial = integer(architecture, "radial"), model.degree = integer(architecture, "degree");
  const int K = model.channels = model.linear = integer(architecture, "channels");
  // More partners than channels would be counted twice; there are no more than that.
  const int Q = std::min(integer(architecture, "partners"), K);
  if (model.radial < 1 || model.radial > 40 || model.degree > 3 || !(model.cutoff > 0))
    unknown_architecture();
  for (int l = 0; l <= model.degree; l++) model.groups.push_back({l * l, 2 * l + 1});
  model.partners.resize(Q);
  for (int q = 0; q < Q; q++)
    for (int k = q; k < K; k++) model.partners[q].push_back(k);
  read_mix(file, "mix", model, &Element::mix);
  const std::size_t Z = model.elements.size(), width = first_width(architecture),
                    inputs = K + static_cast<std::size_t>(model.degree + 1) * K * Q;
  if (inputs == width)  // it would add invariants that the kernel does not keep
    throw std::runtime_error("a shortcut around the first layer, which the kernel does not run");
  std::vector<Layer> first = read_layers(file, "layers.0", Z, inputs, width);
  for (Layer& layer : first) merge_symmetric(model, layer);
  read_networks(file, model, architecture["hidden"], Z, std::move(first));
}

// The header's `kernel` and the tensors of that name hold the expansion: deeppot_kernel.py.
void read_deeppot(const File& file, const Json& architecture, Model& model) {
  if (!file.header.has("kernel"))
    throw std::runtime_error("this model of deepmd-kit has no expansion that the kernel could run "
                             "(docs/deepmd.md says which have); Python evaluates it");
  const Json& kernel = file.header["kernel"];
  if (!kernel.has("products"))
    throw std::runtime_error("a model of deepmd-kit written by an earlier Huozi; convert it again");
  model.cutoff = kernel["cutoff"].number(), model.onset = kernel["onset"].number();
  model.end = kernel["end"].number();
  model.nodes = integer(kernel, "nodes"), model.sets = integer(kernel, "sets");
  const int K = model.channels = integer(kernel, "channels");
  model.degree = 1, model.radial = model.nodes * model.sets;
  if (!(model.cutoff > 0 && model.onset >= 0 && model.onset < model.cutoff && model.end > 0) ||
      model.nodes < 8 || model.nodes > 1024 || model.nodes % 4 || model.sets < 1 ||
      model.sets > 2 || K < 1)
    unknown_architecture();
  std::size_t inputs = 0;
  for (const Json& row : kernel["products"].array()) {
    std::vector<int> channels;
    for (const Json& k : row.array()) channels.push_back(static_cast<int>(whole(k, K - 1)));
    inputs += channels.size();
    model.partners.push_back(std::move(channels));
  }
  if (model.partners.size() > static_cast<std::size_t>(K)) unknown_architecture();
  if (inputs)
    model.groups.push_back({0, 4});
  else
    inputs = model.linear = K;
  read_mix(file, "kernel.mix", model, &Element::mix);
  read_mix(file, "kernel.mix_slope", model, &Element::mix_slope);
  const std::size_t Z = model.elements.size();
  const auto constant = file.read("kernel.constant", {Z, static_cast<std::size_t>(K)});
  for (std::size_t z = 0; z < Z; z++)
    model.elements[z].constant.assign(constant.begin() + z * K, constant.begin() + (z + 1) * K);
  read_networks(file, model, architecture["hidden"], whole(kernel["networks"], Z),
                read_layers(file, "kernel", Z, inputs, first_width(architecture)));
  for (Element& element : model.elements)
    for (std::size_t i = 0; i < element.layers.size(); i++) {
      Layer& layer = element.layers[i];
      layer.activation = Activation::tanh;
      if (i && layer.outputs == 2 * layer.inputs) layer.copies = 2;
    }
}

}  // namespace

int atomic_number(const std::string& symbol) {
  for (int z = 1; z < static_cast<int>(std::size(kSymbols)); z++)
    if (symbol == kSymbols[z]) return z;
  return 0;
}

std::unique_ptr<Model> parse_model(const std::string& content, int member) {
  const File file(content, member);
  static std::atomic<std::uint64_t> models{0};
  auto model = std::make_unique<Model>();
  model->number = ++models;
  model->members = file.members;
  const auto& symbols = file.header["elements"].array();
  if (symbols.empty() || symbols.size() > 118)
    throw std::runtime_error("no elements, or no network");
  for (const Json& symbol : symbols) {
    Element element;
    element.number = atomic_number(symbol.text());
    if (!element.number) throw std::runtime_error("unknown element " + symbol.text());
    element.e0 = file.header["e0_eV"].array().at(model->elements.size()).number();
    model->elements.push_back(std::move(element));
  }
  const Json& architecture = file.header["architecture"];
  const std::string name = architecture["name"].text();
  if (name == "moment")
    read_moment(file, architecture, *model);
  else if (name == "deeppot")
    read_deeppot(file, architecture, *model);
  else
    throw std::runtime_error("the kernel does not run the architecture " + name);
  for (Element& element : model->elements) element.vacuum = vacuum_energy(*model, element);
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
