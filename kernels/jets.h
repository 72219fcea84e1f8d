// Quantities with their gradient and Laplacian, as huozi/wavefunction/jets.py has them.
#pragma once

namespace huozi {

// Arrays (walkers, coordinates + 2, electrons, heads, channels): a value, its derivatives by all
// coordinates, and its Laplacian.
struct AttentionShape {
  int coordinates, electrons, heads, channels;
};

}  // namespace huozi
