// The blocks of the fused deform_psroi_pool, forward and backward. One thread per output element at a time; the threads
// of a warp have neighbouring channels, which are neighbours in memory.
#pragma once

#include "cuda/fused/fixed_point.h"
#include "cuda/fused/psroi_units.h"

namespace dcn::cuda::fused {

// f(slot, unit, channel) for every output element of the block; each thread has its own.
template <class S, class T, class F>
DCN_DEVICE void for_elements(const PsroiOperands<S, T>& a, const PsroiShared<T>& shared, int64_t block, F f) {
  const int64_t first = block * a.units_per_block;
  const int64_t left = a.units() - first;
  const int units = left < a.units_per_block ? static_cast<int>(left) : a.units_per_block;
  for (int slot = simt::thread(); slot < units; slot += THREADS) make_unit(a, first + slot, shared, slot);
  simt::barrier();
  for (int i = simt::thread(); i < units * a.per_class(); i += THREADS) {
    const int slot = i / a.per_class();
    const UnitIndex at = unit_index(a.shape, first + slot);
    f(slot, at, at.offset_class * a.per_class() + i % a.per_class());
  }
}

template <class S, class T>
DCN_DEVICE void psroi_forward_block(const PsroiOperands<S, T>& a, void* memory, int64_t block) {
  const DeformPsroiShape& s = a.shape;
  const PsroiShared<T> shared(memory, a.units_per_block, list_capacity(s));
  for_elements(a, shared, block, [&](int slot, const UnitIndex& at, int channel) {
    const PsroiUnit unit = shared.unit[slot];
    const S* map = a.maps + unit.first + channel;
    T sum = 0;
    for (int i = 0; i < unit.rows; ++i) {
      const int64_t row = static_cast<int64_t>(shared.y.index[i * shared.y.stride + slot]) * s.width;
      T across = 0;
      for (int j = 0; j < unit.columns; ++j) {
        const int64_t pixel = row + shared.x.index[j * shared.x.stride + slot];
        across += shared.x.weight[j * shared.x.stride + slot] * static_cast<T>(map[pixel * s.output_dim]);
      }
      sum += shared.y.weight[i * shared.y.stride + slot] * across;
    }
    a.output[(at.roi * s.output_dim + channel) * a.bins() + at.bin] =
        static_cast<S>(unit.inside == 0 ? T(0) : sum / static_cast<T>(unit.inside));
  });
}

template <class S, class T>
DCN_DEVICE void scatter_bin(const PsroiOperands<S, T>& a, const PsroiShared<T>& shared, int slot, int channel,
                            T share) {
  const PsroiUnit unit = shared.unit[slot];
  for (int i = 0; i < unit.rows; ++i) {
    const int64_t row = static_cast<int64_t>(shared.y.index[i * shared.y.stride + slot]) * a.shape.width;
    const T down = shared.y.weight[i * shared.y.stride + slot] * share;
    for (int j = 0; j < unit.columns; ++j) {
      const T part = shared.x.weight[j * shared.x.stride + slot] * down;
      const int64_t to = unit.first + (row + shared.x.index[j * shared.x.stride + slot]) * a.shape.output_dim + channel;
      if (a.fixed == nullptr) {
        simt::add_one(a.grad_input + to, part);
      } else if (part - part == T(0)) {
        simt::add_fixed(a.fixed + to, to_fixed(static_cast<float>(part), *a.exponent));
      } else {
        simt::add_one(a.grad_input + to, part);
      }
    }
  }
}

// Sum over the bin's samples of the slope along one axis: neighbours along it are subtracted before anything is summed.
template <class S, class T>
DCN_DEVICE T slope_sum(const S* map, const AxisList<T>& along, int entries, int64_t step, const AxisList<T>& across,
                       int lines, int64_t line_step, int slot) {
  T sum = 0;
  for (int i = 0; i < lines; ++i) {
    const S* line = map + across.index[i * across.stride + slot] * line_step;
    T rise = 0, before = 0;
    for (int j = 0; j < entries; ++j) {
      const T value = static_cast<T>(line[along.index[j * along.stride + slot] * step]);
      const int covered = j > 0 ? along.cover[(j - 1) * along.stride + slot] : 0;
      if (covered > 0) rise += static_cast<T>(covered) * (value - before);
      before = value;
    }
    sum += across.weight[i * across.stride + slot] * rise;
  }
  return sum;
}

template <class S, class T>
DCN_DEVICE void psroi_backward_block(const PsroiOperands<S, T>& a, void* memory, int64_t block) {
  const DeformPsroiShape& s = a.shape;
  const PsroiShared<T> shared(memory, a.units_per_block, list_capacity(s));
  for_elements(a, shared, block, [&](int slot, const UnitIndex& at, int channel) {
    const PsroiUnit unit = shared.unit[slot];
    const int64_t element = (at.roi * s.output_dim + channel) * a.bins() + at.bin;
    T along_y = 0, along_x = 0;
    if (unit.inside > 0) {  // else no gradient, whatever comes from above, NaN included
      const T share = static_cast<T>(a.grad[element]) / static_cast<T>(unit.inside);
      if (a.grad_input != nullptr) scatter_bin(a, shared, slot, channel, share);
      if (a.slopes != nullptr) {
        const DeformPsroiRoi<T> window = deform_psroi_roi(a.rois + at.roi * 5, a.spatial_scale);
        const S* map = a.maps + unit.first + channel;
        const int64_t down = static_cast<int64_t>(s.width) * s.output_dim, right = s.output_dim;
        along_y = slope_sum(map, shared.y, unit.rows, down, shared.x, unit.columns, right, slot) * share *
                  product(window.y.extent, a.trans_std);
        along_x = slope_sum(map, shared.x, unit.columns, right, shared.y, unit.rows, down, slot) * share *
                  product(window.x.extent, a.trans_std);
      }
    }
    if (a.slopes != nullptr) {
      T* to = a.slopes + ((at.roi * a.bins() + at.bin) * s.output_dim + channel) * 2;
      to[0] = along_y;
      to[1] = along_x;
    }
  });
}

// Element i of [R, classes, part, part]: both components, over bins and channels in order. grad_offset: x, then y.
template <class T>
DCN_DEVICE void add_slopes(const DeformPsroiShape& s, const T* slopes, T* grad_offset, int64_t i) {
  const int part_size = s.part * s.part, bins = s.pooled * s.pooled, per_class = s.output_dim / s.num_classes;
  const int cell = static_cast<int>(i % part_size);
  const int64_t row = i / part_size, roi = row / s.num_classes;
  const int first = static_cast<int>(row % s.num_classes) * per_class;
  T x = 0, y = 0;
  for (int bin = 0; bin < bins; ++bin) {
    if (part_cell<T>(bin / s.pooled, s.pooled, s.part) != cell / s.part) continue;
    if (part_cell<T>(bin % s.pooled, s.pooled, s.part) != cell % s.part) continue;
    const T* from = slopes + ((roi * bins + bin) * s.output_dim + first) * 2;
    for (int channel = 0; channel < per_class; ++channel) {
      y += from[2 * channel];
      x += from[2 * channel + 1];
    }
  }
  grad_offset[row * 2 * part_size + cell] = x;
  grad_offset[row * 2 * part_size + part_size + cell] = y;
}

}  // namespace dcn::cuda::fused
