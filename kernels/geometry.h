// Radial functions and harmonics of 16 neighbours, and their derivatives.
#pragma once

#include "vector.h"

namespace HUOZI_ISA {

constexpr int kHarmonics = 16;
// Roots of 3, 15, 5/8 and 3/8 in the harmonics.
constexpr float r3 = 1.7320508f, r15 = 3.8729833f, r58 = 0.79056942f, r38 = 0.61237244f;

struct Geometry {
  Vec x, y, z, inverse;         // unit vector, 1 / distance
  Vec harmonics[kHarmonics];    // zero above the degree
};

template <class Radial>
inline void geometry(const float* dx, const float* dy, const float* dz, float cutoff, int radial,
                     int degree, Geometry& g, Radial& value, Radial& slope) {
  const Vec x = load(dx), y = load(dy), z = load(dz);
  const Vec square = x * x + y * y + z * z;
  g.inverse = 1.0f / square_root(square);
  g.x = x * g.inverse, g.y = y * g.inverse, g.z = z * g.inverse;

  // B_n(r) = T_n(1 - 2 (1 - q)^2) (1 - q^2)^3, q = r / cutoff, and derivatives by r
  const Vec q = square * g.inverse * (1.0f / cutoff);
  const Vec t = 1.0f - 2.0f * (1.0f - q) * (1.0f - q), dt = (4.0f / cutoff) * (1.0f - q);
  const Vec w = at_least(1.0f - q * q, 0.0f);
  const Vec envelope = w * w * w, fall = (-6.0f / cutoff) * q * w * w, rise = envelope * dt;
  Vec t0 = splat(1.0f), t1 = t, d0 = Vec{}, d1 = splat(1.0f);
#pragma GCC unroll 16
  for (int n = 0; n < radial; n++) {
    value[n] = t0 * envelope;
    slope[n] = d0 * rise + t0 * fall;
    const Vec t2 = 2.0f * t * t1 - t0, d2 = 2.0f * (t1 + t * d1) - d0;
    t0 = t1, t1 = t2, d0 = d1, d1 = d2;
  }

  Vec* Y = g.harmonics;
  const Vec X = g.x, U = g.y, Z = g.z;
  for (int m = 0; m < kHarmonics; m++) Y[m] = Vec{};
  Y[0] = splat(1.0f);
  if (degree >= 1) Y[1] = X, Y[2] = U, Y[3] = Z;
  if (degree >= 2) {
    Y[4] = r3 * X * U;
    Y[5] = r3 * U * Z;
    Y[6] = 1.5f * Z * Z - 0.5f;
    Y[7] = r3 * X * Z;
    Y[8] = (0.5f * r3) * (X * X - U * U);
  }
  if (degree >= 3) {
    Y[9] = r58 * U * (3.0f * X * X - U * U);
    Y[10] = r15 * X * U * Z;
    Y[11] = r38 * U * (5.0f * Z * Z - 1.0f);
    Y[12] = 0.5f * Z * (5.0f * Z * Z - 3.0f);
    Y[13] = r38 * X * (5.0f * Z * Z - 1.0f);
    Y[14] = (0.5f * r15) * Z * (X * X - U * U);
    Y[15] = r58 * X * (X * X - 3.0f * U * U);
  }
}

// Gradient of sum_m c[m] Y_m by the components of the unit vector, taken as independent.
inline void harmonics_gradient(const Vec* c, const Geometry& g, Vec& gx, Vec& gy, Vec& gz) {
  const Vec X = g.x, Y = g.y, Z = g.z;
  const Vec square = 5.0f * Z * Z - 1.0f;
  gx = c[1] + r3 * (c[4] * Y + c[7] * Z + c[8] * X) + (6.0f * r58) * c[9] * X * Y +
       r15 * Z * (c[10] * Y + c[14] * X) + r38 * c[13] * square +
       (3.0f * r58) * c[15] * (X * X - Y * Y);
  gy = c[2] + r3 * (c[4] * X + c[5] * Z - c[8] * Y) + (3.0f * r58) * c[9] * (X * X - Y * Y) +
       r15 * Z * (c[10] * X - c[14] * Y) + r38 * c[11] * square - (6.0f * r58) * c[15] * X * Y;
  gz = c[3] + r3 * (c[5] * Y + c[7] * X) + 3.0f * c[6] * Z + r15 * c[10] * X * Y +
       (10.0f * r38) * Z * (c[11] * Y + c[13] * X) + 1.5f * c[12] * square +
       (0.5f * r15) * c[14] * (X * X - Y * Y);
}

}  // namespace HUOZI_ISA
