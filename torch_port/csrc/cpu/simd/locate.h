// Where one tap samples, for a run of output positions, a register of them at a time. The rules are core's, lane by
// lane and in the same order: a test holds the records to core's functions bit for bit.
#pragma once

#include "cpu/deform_conv_tiles.h"
#include "cpu/simd/wide.h"

namespace dcn::cpu::DCN_ISA {

template <class T>
using Real = typename Wide<T>::Real;
template <class T>
using Int = typename Wide<T>::Int;

// Flags, -1 or 0 per lane, as ordinary numbers: g++ 12 combines the masks of comparisons bit by bit.
template <class V>
DCN_HD V settled(V flags) {
#if defined(__AVX512F__)
  asm("" : "+v"(flags));
#endif
  return flags;
}

// core's AxisCell; flags are -1 or 0.
template <class T>
struct WideAxis {
  Int<T> low, next;  // next: the high row (column) is low + 1; else it is `low` again or beyond the map
  Int<T> inside, low_inside, high_inside;
  Real<T> fraction;
};

template <class T>
DCN_HD WideAxis<T> wide_axis(ClampBorder, Real<T> position, int size) {
  const Real<T> zero = {};
  const Int<T> inside = settled((position >= zero) & (position < static_cast<T>(size)));  // false for NaN
  const Real<T> within = inside ? position : zero;
  const Int<T> low = __builtin_convertvector(within, Int<T>), next = settled(low < size - 1);
  const Real<T> fraction = next ? within - __builtin_convertvector(low, Real<T>) : zero;
  return {low, next, inside, inside, inside, fraction};
}

template <class T>
DCN_HD WideAxis<T> wide_axis(ZerosBorder, Real<T> position, int size) {
  const Real<T> zero = {};
  const Int<T> inside = settled((position > T(-1)) & (position < static_cast<T>(size)));
  const Real<T> within = inside ? position : zero;
  const Int<T> low = __builtin_convertvector(within, Int<T>) + settled(within < zero);
  const Int<T> next = settled(low < size - 1);
  return {low, next, inside, settled(low >= 0), next, within - __builtin_convertvector(low, Real<T>)};
}

// The register's worth of values from `p` on; only the first `count` are there, the others are 0.
template <class T>
DCN_HD Real<T> load_some(const T* p, int64_t count) {
  Real<T> values = {};
  if (count >= Wide<T>::LANES) {
    __builtin_memcpy(&values, p, sizeof(values));
  } else {
    __builtin_memcpy(&values, p, static_cast<size_t>(count) * sizeof(T));
  }
  return values;
}

template <class To, class V>
DCN_HD void store_lanes(To* p, V lanes) {
  typedef To Stored __attribute__((vector_size(sizeof(lanes) / sizeof(lanes[0]) * sizeof(To))));
  const Stored stored = __builtin_convertvector(lanes, Stored);
  __builtin_memcpy(p, &stored, sizeof(stored));
}

// Row and column of consecutive output positions, one per lane.
template <class T>
struct WidePositions {
  static constexpr int LANES = Wide<T>::LANES;
  Int<T> row, column;
  int width, rows_on, columns_on;  // from register to register

  DCN_MEMBER WidePositions(int64_t first, int out_width)
      : width(out_width), rows_on(LANES / out_width), columns_on(LANES % out_width) {
    int32_t rows[LANES], columns[LANES];
    int r = static_cast<int>(first / width), c = static_cast<int>(first % width);
    for (int lane = 0; lane < LANES; ++lane) {
      rows[lane] = r;
      columns[lane] = c;
      const bool ended = ++c == width;
      c = ended ? 0 : c;
      r += ended;
    }
    row = widened(rows);
    column = widened(columns);
  }

  DCN_MEMBER void advance() {
    column += columns_on;
    const Int<T> ended = column >= width;
    column -= ended & width;
    row += rows_on - ended;
  }

 private:
  DCN_MEMBER static Int<T> widened(const int32_t (&numbers)[LANES]) {
    typedef int32_t Narrow __attribute__((vector_size(sizeof(numbers))));
    Narrow narrow;
    __builtin_memcpy(&narrow, numbers, sizeof(narrow));
    return __builtin_convertvector(narrow, Int<T>);
  }
};

template <class T>
DCN_HD void store_record(const WideAxis<T>& y, const WideAxis<T>& x, int width, int outside, const Real<T>& factor,
                         SampleRecords<T>& block, int64_t lane) {
  const Real<T> zero = {}, lower = y.fraction, upper = T(1) - lower, right = x.fraction, left = T(1) - right;
  const Int<T> inside = y.inside & x.inside, beyond = Int<T>{} + outside;
  const Int<T> first = y.low * width + x.low, down = y.next & width, across = x.next & 1;
  const Int<T> there[4] = {inside & y.low_inside & x.low_inside, inside & y.low_inside & x.high_inside,
                           inside & y.high_inside & x.low_inside, inside & y.high_inside & x.high_inside};
  const Int<T> at[4] = {first, first + across, first + down, first + down + across};
  const Real<T> weight[4] = {upper * left, upper * right, lower * left, lower * right};
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    const Real<T> alone = there[k] ? weight[k] : zero;
    store_lanes<int32_t>(block.at[k] + lane, there[k] ? at[k] : beyond);
    store_lanes<T>(block.weight[k] + lane, alone * factor);
  }
}

// Fills the records of `count` positions from `first`, and the slopes where they are wanted; both up to the end of a
// block.
template <class Border, class T>
static void locate(const DeformConvShape& s, const T* offset, const T* mask, int64_t image, int64_t group, int64_t tap,
                   int64_t first, int64_t count, bool weigh_mask, SampleRecords<T>* records, SlopeRecords<T>* slopes) {
  constexpr int LANES = Wide<T>::LANES;
  const int64_t positions = s.positions();
  const T* y_offset = offset + offset_index(image, group, tap, first, s.offset_groups, s.taps(), positions);
  const T* x_offset = y_offset + positions;
  const T* masks = mask ? mask + mask_index(image, group, tap, first, s.offset_groups, s.taps(), positions) : nullptr;
  const int height = static_cast<int>(s.height), width = static_cast<int>(s.width);
  const int i = static_cast<int>(tap / s.kernel_w), j = static_cast<int>(tap % s.kernel_w);
  WidePositions<T> place(first, static_cast<int>(s.out_width));
  for (int64_t t = 0; t < count; t += LANES) {
    const Int<T> y_start = place.row * s.stride_h - s.pad_h + i * s.dilation_h;
    const Int<T> x_start = place.column * s.stride_w - s.pad_w + j * s.dilation_w;
    const Real<T> y_position = __builtin_convertvector(y_start, Real<T>) + load_some(y_offset + t, count - t);
    const Real<T> x_position = __builtin_convertvector(x_start, Real<T>) + load_some(x_offset + t, count - t);
    const WideAxis<T> y = wide_axis<T>(Border(), y_position, height), x = wide_axis<T>(Border(), x_position, width);
    const Real<T> one = Real<T>{} + T(1);
    const Int<T> inside = y.inside & x.inside;
    const Real<T> scale = masks ? (inside ? load_some(masks + t, count - t) : one) : one;
    const int64_t lane = t % RECORDS;
    store_record<T>(y, x, width, height * width, weigh_mask ? scale : one, records[t / RECORDS], lane);
    if (slopes) {
      SlopeRecords<T>& block = slopes[t / RECORDS];
      store_lanes<T>(block.y + lane, y.fraction);
      store_lanes<T>(block.x + lane, x.fraction);
      store_lanes<T>(block.mask + lane, scale);
      store_lanes<int32_t>(block.inside + lane, inside);
    }
    place.advance();
  }
}

template <class T>
static void locate(Border border, const DeformConvShape& s, const T* offset, const T* mask, int64_t image,
                   int64_t group, int64_t tap, int64_t first, int64_t count, bool weigh_mask, SampleRecords<T>* records,
                   SlopeRecords<T>* slopes) {
  if (border == Border::clamp) {
    locate<ClampBorder>(s, offset, mask, image, group, tap, first, count, weigh_mask, records, slopes);
  } else {
    locate<ZerosBorder>(s, offset, mask, image, group, tap, first, count, weigh_mask, records, slopes);
  }
}

}  // namespace dcn::cpu::DCN_ISA
