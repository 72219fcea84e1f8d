// The network of one element: energies of a block of atoms, and their gradient by the invariants.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "model.h"
#include "product.h"

namespace HUOZI_ISA {

// Values of one thread's block.
struct NetworkRoom {
  std::vector<std::vector<Vec>> values;  // of each layer [unit][2]; 0: the invariants
  std::vector<std::vector<Vec>> slopes;  // derivative of each layer's activation
  std::vector<Vec> gradient, next;

  explicit NetworkRoom(const std::vector<huozi::Layer>& layers) {
    std::size_t widest = layers[0].inputs * kVecs;
    values.emplace_back(widest);
    for (const huozi::Layer& layer : layers) {
      values.emplace_back(layer.outputs * kVecs);
      slopes.emplace_back(layer.outputs * kVecs);
      widest = std::max(widest, values.back().size());
    }
    gradient.resize(widest);
    next.resize(widest);
  }
};

// The activation of unit j, in place, and its derivative.
inline void activate(const huozi::Layer& layer, int j, Vec& x, Vec& slope) {
  if (layer.activation == huozi::Activation::silu) {
    const Vec s = 1.0f / (1.0f + exponential(-1.0f * x));
    slope = s + x * s * (1.0f - s);
    x = x * s;
  } else {
    const Vec t = 2.0f / (1.0f + exponential(-2.0f * x)) - 1.0f;
    const float step = layer.step.empty() ? 1.0f : layer.step[j];
    slope = step * (1.0f - t * t);
    x = step * t;
  }
}

// Energies of the lanes; leaves the gradient by the invariants in work.gradient.
inline void network(const huozi::Element& element, NetworkRoom& work, Vec (&energy)[kVecs]) {
  const int depth = static_cast<int>(element.layers.size());
  for (int i = 0; i < depth; i++) {
    const huozi::Layer& layer = element.layers[i];
    const Vec* in = work.values[i].data();
    Vec *out = work.values[i + 1].data(), *slope = work.slopes[i].data();
    for (int j = 0; j < layer.outputs; j++)
      for (int v = 0; v < kVecs; v++) out[j * kVecs + v] = splat(layer.bias[j]);
    accumulate(layer.outputs, layer.inputs, kVecs, layer.weight.data(), 1, layer.outputs, in, kVecs,
               out, kVecs);
    for (int j = 0; j < layer.outputs; j++)
      for (int v = j * kVecs; v < (j + 1) * kVecs; v++) {
        activate(layer, j, out[v], slope[v]);
        if (layer.copies) out[v] += in[v % (layer.inputs * kVecs)];
      }
  }
  const int width = static_cast<int>(element.readout.size());
  Vec* gradient = work.gradient.data();
  energy[0] = energy[1] = Vec{};
  for (int j = 0; j < width; j++)
    for (int v = 0; v < kVecs; v++) {
      energy[v] += element.readout[j] * work.values[depth][j * kVecs + v];
      gradient[j * kVecs + v] = splat(element.readout[j]);
    }
  for (int i = depth - 1; i >= 0; i--) {
    const huozi::Layer& layer = element.layers[i];
    const Vec* slope = work.slopes[i].data();
    Vec *gradient = work.gradient.data(), *next = work.next.data();
    std::fill_n(next, layer.inputs * kVecs, Vec{});
    for (int copy = 0; copy < layer.copies; copy++)
      for (int j = 0; j < layer.inputs * kVecs; j++)
        next[j] += gradient[copy * layer.inputs * kVecs + j];
    for (int j = 0; j < layer.outputs * kVecs; j++) gradient[j] *= slope[j];
    accumulate(layer.inputs, layer.outputs, kVecs, layer.weight.data(), layer.outputs, 1, gradient,
               kVecs, next, kVecs);
    std::swap(work.gradient, work.next);
  }
}

}  // namespace HUOZI_ISA
