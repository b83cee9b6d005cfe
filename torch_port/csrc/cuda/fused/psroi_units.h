// Units of the fused deform_psroi_pool: maps lie with the output channel innermost, [N, group cells, H, W, D], so that
// the channels of a bin are neighbours. A unit is one bin of one offset class: its samples form a grid, so each axis
// becomes a short list of rows (columns) with the summed weights of all samples, made once and shared by the class's
// channels. A bin then reads each pixel once, where sample by sample it would read it four times and more.
#pragma once

#include "core/deform_psroi_pool.h"
#include "cuda/fused/precision.h"

namespace dcn::cuda::fused {

// S: type of the maps; T: float or double, type of coordinates and sums. units_per_block: as many units as a block
// takes. Gradients: grad [R, D, P, P]; grad_input as the maps, zero-filled, or null, and fixed (T float) where order
// must not matter; slopes [R, P*P, D, 2] takes what each output element gives to its offset (y, then x), or is null.
template <class S, class T>
struct PsroiOperands {
  DeformPsroiShape shape;
  T spatial_scale, trans_std;
  int units_per_block;
  const S* maps;
  const T* rois;
  const T* offset;
  S* output;
  const S* grad;
  T* grad_input;
  int64_t* fixed;
  const int* exponent;
  T* slopes;

  DCN_DEVICE int per_class() const { return shape.output_dim / shape.num_classes; }
  DCN_DEVICE int bins() const { return shape.pooled * shape.pooled; }
  DCN_DEVICE int64_t units() const { return static_cast<int64_t>(shape.num_rois) * bins() * shape.num_classes; }
};

// One axis of a unit. Entry e of unit u stands at [e * stride + u]. cover: how many samples lie between this entry and
// the next one (which then is its neighbour in the map).
template <class T>
struct AxisList {
  T* weight;
  uint16_t* index;
  uint16_t* cover;
  int stride;
};
struct AxisCounts {
  int entries, inside;  // inside: samples
};

template <class T>
DCN_HD AxisCounts merge_samples(BinAxis<T> bin, int samples, int size, AxisList<T> to) {
  AxisCounts n = {0, 0};
  const auto at = [&](int entry) { return entry * to.stride; };
  const auto append = [&](int cell) {
    to.index[at(n.entries)] = static_cast<uint16_t>(cell);
    to.weight[at(n.entries)] = T(0);
    to.cover[at(n.entries)] = 0;
    return n.entries++;
  };
  for (int i = 0; i < samples; ++i) {  // positions ascend: a sample's cell is one of the last two entries, or new
    const AxisSample<T> sample = axis_sample(bin, static_cast<T>(i), size);
    if (!sample.inside) continue;
    ++n.inside;
    int low = n.entries - 1;
    if (low >= 1 && to.index[at(low - 1)] == sample.low) --low;
    if (low < 0 || to.index[at(low)] != sample.low) low = append(sample.low);
    to.weight[at(low)] += T(1) - sample.fraction;
    if (sample.high == sample.low) continue;
    if (low + 1 == n.entries) append(sample.high);
    to.weight[at(low + 1)] += sample.fraction;
    ++to.cover[at(low)];
  }
  return n;
}

// What one unit is, besides its lists.
struct PsroiUnit {
  int64_t first;  // element of the maps: image and group cell, channel 0
  int rows, columns, inside;
};

// The lists and units of a block in shared memory.
template <class T>
struct PsroiShared {
  AxisList<T> y, x;
  PsroiUnit* unit;

  DCN_DEVICE PsroiShared(void* memory, int units, int capacity) {
    unit = static_cast<PsroiUnit*>(memory);
    T* weights = reinterpret_cast<T*>(unit + units);
    uint16_t* numbers = reinterpret_cast<uint16_t*>(weights + 2 * units * capacity);
    const int all = units * capacity;
    y = {weights, numbers, numbers + all, units};
    x = {weights + all, numbers + 2 * all, numbers + 3 * all, units};
  }
  DCN_MEMBER static int64_t bytes(int64_t units, int64_t capacity) {
    return units * (static_cast<int64_t>(sizeof(PsroiUnit)) + 2 * capacity * (static_cast<int64_t>(sizeof(T)) + 4));
  }
};
DCN_HD int list_capacity(const DeformPsroiShape& s) { return 2 * s.samples; }

// Unit number -> (RoI, bin row, bin column, class), classes innermost.
struct UnitIndex {
  int64_t roi;
  int bin, row, column, offset_class;
};
DCN_HD UnitIndex unit_index(const DeformPsroiShape& s, int64_t unit) {
  const int64_t outer = unit / s.num_classes;
  const int bins = s.pooled * s.pooled, bin = static_cast<int>(outer % bins);
  return {outer / bins, bin, bin / s.pooled, bin % s.pooled, static_cast<int>(unit % s.num_classes)};
}

template <class S, class T>
DCN_DEVICE void make_unit(const PsroiOperands<S, T>& a, int64_t number, const PsroiShared<T>& shared, int slot) {
  const DeformPsroiShape& s = a.shape;
  const UnitIndex at = unit_index(s, number);
  const int image = roi_image(a.rois + at.roi * 5, s.num_images);
  if (image < 0) {
    shared.unit[slot] = {0, 0, 0, 0};
    return;
  }
  const DeformPsroiRoi<T> window = deform_psroi_roi(a.rois + at.roi * 5, a.spatial_scale);
  const Bin<T> bin = moved_bin(s, window, a.offset, a.trans_std, at.roi, at.offset_class, at.row, at.column,
                               part_cell<T>(at.row, s.pooled, s.part), part_cell<T>(at.column, s.pooled, s.part));
  AxisList<T> y = shared.y, x = shared.x;
  y.weight += slot, y.index += slot, y.cover += slot;
  x.weight += slot, x.index += slot, x.cover += slot;
  const AxisCounts rows = merge_samples(bin.y, s.samples, s.height, y);
  const AxisCounts columns = merge_samples(bin.x, s.samples, s.width, x);
  const int64_t cell = group_cell<T>(at.row, s.pooled, s.group) * s.group + group_cell<T>(at.column, s.pooled, s.group);
  const int64_t plane = static_cast<int64_t>(s.height) * s.width * s.output_dim;
  const int inside = rows.inside * columns.inside;
  shared.unit[slot] = {(static_cast<int64_t>(image) * s.group * s.group + cell) * plane, inside ? rows.entries : 0,
                       inside ? columns.entries : 0, inside};
}

}  // namespace dcn::cuda::fused
