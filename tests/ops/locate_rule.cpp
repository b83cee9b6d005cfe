// Holds the records that cpu/simd/locate.h writes to core's functions, bit for bit. Compiled by test_locate.py once per
// instruction set; prints one row per (border, type), exit code 1 if a bit differs.
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <random>

#include "cpu/simd/locate.h"

namespace {

using namespace dcn;
using namespace dcn::cpu;

constexpr int CALLS = 1500;

std::mt19937 generator(7);

int between(int low, int high) { return std::uniform_int_distribution<int>(low, high)(generator); }

template <class T, size_t N>
T one_of(const T (&values)[N]) {
  return values[between(0, N - 1)];
}

DeformConvShape random_shape() {
  DeformConvShape s = {};
  s.images = between(1, 2);
  s.height = one_of({0, 1, 2, 7, 38, 38, 64});
  s.width = one_of({0, 1, 2, 9, 63, 63, 64});
  s.out_height = one_of({1, 2, 3, 11});
  s.out_width = one_of({1, 2, 3, 7, 15, 16, 17, 31, 63});
  s.kernel_h = between(1, 3);
  s.kernel_w = between(1, 3);
  s.stride_h = between(1, 2);
  s.stride_w = between(1, 3);
  s.pad_h = between(0, 4);
  s.pad_w = between(0, 4);
  s.dilation_h = between(1, 2);
  s.dilation_w = between(1, 3);
  s.groups = 1;
  s.offset_groups = between(1, 2);
  return s;
}

// An offset that leads from `base` to an interesting place on an axis of `size` pixels.
template <class T>
T offset_to(int base, int64_t size) {
  using Limits = std::numeric_limits<T>;
  const T near = T(one_of({-1, 0, 1, int(size) - 2, int(size) - 1, int(size)}));
  switch (between(0, 19)) {
    case 0: return near - T(base);
    case 1: return std::nextafter(near, -Limits::infinity()) - T(base);
    case 2: return std::nextafter(near, Limits::infinity()) - T(base);
    case 3:
      return one_of({Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity(), T(1e30), T(-1e30), Limits::max(),
                     Limits::lowest(), T(2147483648.0), T(-2147483648.0), T(2147483520.0)});
    case 4: return one_of({T(0), -T(0), Limits::denorm_min(), -Limits::denorm_min(), T(1e-30), T(-1e-30)});
    case 5: return T(between(-3, 3));
    default: return std::normal_distribution<T>(0, 2)(generator);
  }
}

template <class T>
T random_mask() {
  using Limits = std::numeric_limits<T>;
  if (between(0, 5) > 0) return std::normal_distribution<T>(0, 1)(generator);
  return one_of({T(0), -T(0), T(1), Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity(), Limits::max()});
}

template <class T>
bool same_bits(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

// Arrays of exactly the size that is needed: a read or write beyond them is the sanitizer's to find.
template <class T>
struct Call {
  DeformConvShape s = random_shape();
  std::unique_ptr<T[]> offset, mask;

  Call() {
    const int64_t planes = s.images * s.offset_groups * s.taps(), positions = s.positions();
    offset.reset(new T[planes * 2 * positions]);
    mask.reset(new T[planes * positions]);
    for (int64_t plane = 0; plane < planes; ++plane) {
      const int i = int(plane % s.taps()) / s.kernel_w, j = int(plane % s.taps()) % s.kernel_w;
      for (int64_t p = 0; p < positions; ++p) {
        const int row = int(p / s.out_width), column = int(p % s.out_width);
        offset[plane * 2 * positions + p] = offset_to<T>(row * s.stride_h - s.pad_h + i * s.dilation_h, s.height);
        offset[(plane * 2 + 1) * positions + p] =
            offset_to<T>(column * s.stride_w - s.pad_w + j * s.dilation_w, s.width);
        mask[plane * positions + p] = random_mask<T>();
      }
    }
  }
};

template <class T>
struct Counts {
  int64_t samples = 0, inside = 0, differing = 0;
};

// What core says of one sample.
template <class Border, class T>
void judge(const Call<T>& call, int64_t plane, int64_t p, bool masked, bool weigh_mask, const SampleRecord<T>& r,
           const SampleSlopes<T>& slopes, Counts<T>& counts) {
  const DeformConvShape& s = call.s;
  const int64_t positions = s.positions(), tap = plane % s.taps();
  const BilinearCell<T> cell = deform_conv_cell<Border>(
      s, int(p / s.out_width), int(p % s.out_width), int(tap / s.kernel_w), int(tap % s.kernel_w),
      call.offset[plane * 2 * positions + p], call.offset[(plane * 2 + 1) * positions + p]);
  const FourCorners<T> w = bilinear_weights(cell);
  const FourCorners<int64_t> at = bilinear_addresses(cell, s.width, 1, s.height * s.width);
  const T mask = masked && cell.inside() ? call.mask[plane * positions + p] : T(1);
  const int64_t pixels[4] = {at.v00, at.v01, at.v10, at.v11};
  const T weights[4] = {w.v00, w.v01, w.v10, w.v11};
  bool same = same_bits(slopes.y, cell.y.fraction) && same_bits(slopes.x, cell.x.fraction) &&
              same_bits(slopes.mask, mask) && slopes.inside == cell.inside();
  for (int k = 0; k < 4; ++k) {
    same = same && r.at[k] == pixels[k];
    same = same && same_bits(r.weight[k], weigh_mask ? T(weights[k] * mask) : weights[k]);
  }
  ++counts.samples;
  counts.inside += cell.inside();
  counts.differing += !same;
}

template <class Rule, class T>
Counts<T> run(Border border) {
  Counts<T> counts;
  for (int i = 0; i < CALLS; ++i) {
    const Call<T> call;
    const DeformConvShape& s = call.s;
    const bool masked = between(0, 1), weigh_mask = between(0, 1);
    const int64_t image = between(0, int(s.images) - 1), group = between(0, s.offset_groups - 1);
    const int64_t tap = between(0, int(s.taps()) - 1), first = between(0, int(s.positions()) - 1);
    const int64_t count = between(0, 2) ? s.positions() - first : between(1, int(s.positions() - first));
    const std::unique_ptr<SampleRecords<T>[]> records(new SampleRecords<T>[record_blocks(count)]);
    const std::unique_ptr<SlopeRecords<T>[]> slopes(new SlopeRecords<T>[record_blocks(count)]);
    const auto fill = [&](SlopeRecords<T>* wanted) {
      DCN_ISA::locate(border, s, call.offset.get(), masked ? call.mask.get() : nullptr, image, group, tap, first, count,
                      weigh_mask, records.get(), wanted);
    };
    fill(slopes.get());
    if (between(0, 1)) {  // without slopes the records are the same
      std::memset(static_cast<void*>(records.get()), 0xff, record_blocks(count) * sizeof(SampleRecords<T>));
      fill(nullptr);
    }
    for (int64_t t = 0; t < count; ++t) {
      judge<Rule>(call, (image * s.offset_groups + group) * s.taps() + tap, first + t, masked, weigh_mask,
                  SampleRecords<T>::get(records.get(), t), SlopeRecords<T>::get(slopes.get(), t), counts);
    }
  }
  return counts;
}

template <class Rule, class T>
bool row(const char* name, Border border) {
  const Counts<T> c = run<Rule, T>(border);
  const bool holds = c.differing == 0 && c.inside > c.samples / 8 && c.inside < c.samples;
  std::printf("%s, %s | %lld samples, %lld inside | %lld differ | %s\n", name, sizeof(T) == 4 ? "float32" : "float64",
              (long long)c.samples, (long long)c.inside, (long long)c.differing, holds ? "holds" : "DOES NOT HOLD");
  return holds;
}

}  // namespace

int main() {
  bool holds = row<ClampBorder, float>("clamp", Border::clamp);
  holds &= row<ZerosBorder, float>("zeros", Border::zeros);
  holds &= row<ClampBorder, double>("clamp", Border::clamp);
  holds &= row<ZerosBorder, double>("zeros", Border::zeros);
  return holds ? 0 : 1;
}
