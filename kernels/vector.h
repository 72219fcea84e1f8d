// Sixteen floats at a time: one register of AVX-512, two of AVX2, four of SSE or NEON. The compiler's
// vector extension does the arithmetic; see isa_*.cpp for the three builds.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace HUOZI_ISA {

constexpr int kLanes = 16;
constexpr int kWidth = HUOZI_WIDTH;  // floats in a register
constexpr int kParts = kLanes / kWidth;
typedef float Register __attribute__((vector_size(4 * kWidth)));
typedef std::int32_t IntRegister __attribute__((vector_size(4 * kWidth)));

struct Vec {
  Register part[kParts];

  float operator[](int lane) const { return part[lane / kWidth][lane % kWidth]; }
};

inline Vec splat(float value) {
  Vec v;
  for (Register& r : v.part) r = value - Register{};
  return v;
}

inline Vec load(const float* from) {
  Vec v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

inline void store(float* to, const Vec& v) { std::memcpy(to, &v, sizeof v); }

// Each register of the result from the same registers of the arguments.
template <class Function, class... Vecs>
inline Vec each(Function function, const Vecs&... v) {
  Vec out;
#pragma GCC unroll 4
  for (int p = 0; p < kParts; p++) out.part[p] = function(v.part[p]...);
  return out;
}

#define HUOZI_OPERATOR(op)                                                                \
  inline Vec operator op(const Vec& a, const Vec& b) {                                    \
    return each([](Register x, Register y) { return x op y; }, a, b);                     \
  }                                                                                       \
  inline Vec operator op(const Vec& a, float b) {                                         \
    return each([b](Register x) { return x op b; }, a);                                   \
  }                                                                                       \
  inline Vec operator op(float a, const Vec& b) {                                         \
    return each([a](Register x) { return a op x; }, b);                                   \
  }                                                                                       \
  inline Vec& operator op##=(Vec& a, const Vec& b) { return a = a op b; }
HUOZI_OPERATOR(+)
HUOZI_OPERATOR(-)
HUOZI_OPERATOR(*)
HUOZI_OPERATOR(/)
#undef HUOZI_OPERATOR

// sum += a * b in one instruction where there is one.
inline void add_product(Vec& sum, const Vec& a, const Vec& b) {
#pragma GCC unroll 4
  for (int p = 0; p < kParts; p++) sum.part[p] += a.part[p] * b.part[p];
}

inline Vec at_least(const Vec& v, float least) {
  return each([least](Register x) { return x > least ? x : least - Register{}; }, v);
}

inline Vec at_most(const Vec& v, float most) {
  return each([most](Register x) { return x < most ? x : most - Register{}; }, v);
}

inline Vec square_root(const Vec& v) {
  return each(
      [](Register x) {
        for (int i = 0; i < kWidth; i++) x[i] = std::sqrt(x[i]);
        return x;
      },
      v);
}

// exp(x) to 2e-7, |x| held below 80: 2^n times a polynomial on half an octave to either side of 0.
inline Vec exponential(const Vec& v) {
  return each(
      [](Register x) {
        const Register shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23 rounds to an integer
        const Register n = shifted - 12582912.0f;
        const Register f = (x - n * 0.693359375f) + n * 2.12194440e-4f;
        Register p = f * 1.9875691500e-4f + 1.3981999507e-3f;
        p = p * f + 8.3334519073e-3f;
        p = p * f + 4.1665795894e-2f;
        p = p * f + 1.6666665459e-1f;
        p = p * f + 5.0000001201e-1f;
        p = p * f * f + f + 1.0f;
        const IntRegister power = (__builtin_convertvector(n, IntRegister) + 127) << 23;
        return p * reinterpret_cast<Register>(power);
      },
      at_most(at_least(v, -80.0f), 80.0f));
}

// One round of a transposition: blocks of `Distance` elements change places between two rows.
template <int Distance>
inline void exchange(Vec& a, Vec& b) {
  if constexpr (Distance >= kWidth) {
    constexpr int parts = Distance / kWidth;
#pragma GCC unroll 4
    for (int p = 0; p < kParts; p++)
      if (!(p & parts)) std::swap(a.part[p + parts], b.part[p]);
  } else {
    IntRegister low, high;  // constants after unrolling
#pragma GCC unroll 16
    for (int i = 0; i < kWidth; i++) {
      low[i] = i & Distance ? kWidth + i - Distance : i;
      high[i] = i & Distance ? kWidth + i : i + Distance;
    }
#pragma GCC unroll 4
    for (int p = 0; p < kParts; p++) {
      const Register x = a.part[p], y = b.part[p];
      a.part[p] = __builtin_shuffle(x, y, low);
      b.part[p] = __builtin_shuffle(x, y, high);
    }
  }
}

// Rows of 16 become columns of 16, in place.
inline void transpose(Vec (&rows)[kLanes]) {
  const auto round = [&](auto distance) {
    constexpr int D = decltype(distance)::value;
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i++)
      if (!(i & D)) exchange<D>(rows[i], rows[i + D]);
  };
  round(std::integral_constant<int, 1>{});
  round(std::integral_constant<int, 2>{});
  round(std::integral_constant<int, 4>{});
  round(std::integral_constant<int, 8>{});
}

}  // namespace HUOZI_ISA
