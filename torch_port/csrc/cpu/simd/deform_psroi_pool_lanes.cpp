// deform_psroi_pool with one bin per vector lane; compiled once per instruction set. The arithmetic is that of
// core/deform_psroi_pool.h, lane by lane and in the same order, so that results do not depend on the machine.
#include "cpu/deform_psroi_pool.h"

namespace dcn::cpu::DCN_ISA {
namespace {

// A vector's worth of consecutive (output channel, bin) pairs of one RoI.
template <class T>
struct Lanes {
  static constexpr int COUNT = 64 / sizeof(T);
  alignas(64) T first_y[COUNT], first_x[COUNT];
  alignas(64) int plane[COUNT];   // element of the image where the lane's channel begins
  alignas(64) int part[COUNT];    // element of grad_offset, and of offset, for x; y is part * part further
};

// Everything about a RoI that its bins share.
template <class T>
struct RoiContext {
  DeformPsroiRoi<T> roi;
  const T* image;
  const T* offset;  // this RoI's, or null
  T step_y, step_x;
};

template <class T>
DCN_HD RoiContext<T> roi_context(const DeformPsroiArrays<T>& a, int64_t roi, int image) {
  const DeformPsroiShape& s = a.shape;
  RoiContext<T> c;
  c.roi = deform_psroi_roi(a.rois + roi * 5, a.spatial_scale);
  c.image = a.input + static_cast<int64_t>(image) * s.channels * s.height * s.width;
  c.offset = a.offset ? a.offset + roi * s.num_classes * 2 * s.part * s.part : nullptr;
  c.step_y = bin_axis(c.roi.y, T(0), T(s.pooled), T(s.samples), T(0)).step;
  c.step_x = bin_axis(c.roi.x, T(0), T(s.pooled), T(s.samples), T(0)).step;
  return c;
}

// Lanes of the pairs first, first + 1, ...; those past `last` repeat pair `first`.
template <class T>
DCN_HD void fill_lanes(Lanes<T>& lanes, const DeformPsroiArrays<T>& a, const RoiContext<T>& c, int64_t first,
                       int64_t last) {
  const DeformPsroiShape& s = a.shape;
  const int bins = s.pooled * s.pooled, plane_size = s.height * s.width, part_size = s.part * s.part;
  const int channels_per_class = s.output_dim / s.num_classes;
  int channel = static_cast<int>(first / bins), bin = static_cast<int>(first % bins);
  int row = bin / s.pooled, column = bin % s.pooled;
  for (int lane = 0; lane < Lanes<T>::COUNT; ++lane) {
    const int cell = (channel * s.group + group_cell<T>(row, s.pooled, s.group)) * s.group +
                     group_cell<T>(column, s.pooled, s.group);
    lanes.plane[lane] = cell * plane_size;
    const int part = channel / channels_per_class * 2 * part_size + part_cell<T>(row, s.pooled, s.part) * s.part +
                     part_cell<T>(column, s.pooled, s.part);
    lanes.part[lane] = part;
    const T shift_x = c.offset ? product(c.offset[part], a.trans_std) : T(0);
    const T shift_y = c.offset ? product(c.offset[part + part_size], a.trans_std) : T(0);
    lanes.first_x[lane] = bin_axis(c.roi.x, T(column), T(s.pooled), T(s.samples), shift_x).first;
    lanes.first_y[lane] = bin_axis(c.roi.y, T(row), T(s.pooled), T(s.samples), shift_y).first;
    if (first + lane + 1 >= last) continue;
    if (++column == s.pooled) {
      column = 0;
      if (++row == s.pooled) {
        row = 0;
        ++channel;
      }
    }
  }
}

// f(lane, corners, fraction_y, fraction_x, inside) for every sample of every lane; where not inside, the corners are
// some element of the lane's plane.
template <class T, class F>
DCN_HD void for_each_lane_sample(const Lanes<T>& lanes, const DeformPsroiShape& s, const RoiContext<T>& c, F f) {
  constexpr int COUNT = Lanes<T>::COUNT;
  alignas(64) T fraction_y[COUNT];
  alignas(64) int top[COUNT], bottom[COUNT], inside_y[COUNT];
  const T* image = c.image;
  for (int iy = 0; iy < s.samples; ++iy) {
    for (int lane = 0; lane < COUNT; ++lane) {
      const AxisSample<T> y = axis_sample(BinAxis<T>{lanes.first_y[lane], c.step_y}, T(iy), s.height);
      top[lane] = lanes.plane[lane] + y.low * s.width;
      bottom[lane] = lanes.plane[lane] + y.high * s.width;
      fraction_y[lane] = y.fraction;
      inside_y[lane] = y.inside ? 1 : 0;
    }
    for (int ix = 0; ix < s.samples; ++ix) {
      for (int lane = 0; lane < COUNT; ++lane) {
        const AxisSample<T> x = axis_sample(BinAxis<T>{lanes.first_x[lane], c.step_x}, T(ix), s.width);
        const FourCorners<T> v = {image[top[lane] + x.low], image[top[lane] + x.high], image[bottom[lane] + x.low],
                              image[bottom[lane] + x.high]};
        f(lane, v, fraction_y[lane], x.fraction, inside_y[lane] & (x.inside ? 1 : 0));
      }
    }
  }
}

template <class T>
DCN_HD void pool_lanes(const Lanes<T>& lanes, const DeformPsroiShape& s, const RoiContext<T>& c, T* result) {
  constexpr int COUNT = Lanes<T>::COUNT;
  alignas(64) T sum[COUNT] = {};
  alignas(64) int count[COUNT] = {};
  for_each_lane_sample(lanes, s, c,
                       [&](int lane, FourCorners<T> v, T fraction_y, T fraction_x, int inside)
                           __attribute__((always_inline)) {
                             const T value = interpolate(v, corner_weights(fraction_y, fraction_x));
                             sum[lane] = total(sum[lane], inside ? value : T(0));
                             count[lane] += inside;
                           });
  for (int lane = 0; lane < COUNT; ++lane) {
    result[lane] = count[lane] ? sum[lane] / static_cast<T>(count[lane]) : T(0);
  }
}

// Slope of each lane's mean per feature pixel of shift, and how many samples it has.
template <class T>
struct LaneSlopes {
  alignas(64) T y[Lanes<T>::COUNT] = {}, x[Lanes<T>::COUNT] = {};
  alignas(64) int count[Lanes<T>::COUNT] = {};
};

template <class T>
DCN_HD void slope_lanes(const Lanes<T>& lanes, const DeformPsroiShape& s, const RoiContext<T>& c,
                        LaneSlopes<T>& slopes) {
  LaneSlopes<T> sum;
  for_each_lane_sample(lanes, s, c,
                       [&](int lane, FourCorners<T> v, T fraction_y, T fraction_x, int inside)
                           __attribute__((always_inline)) {
                             const T dx = slope_x(v, fraction_y), dy = slope_y(v, fraction_x);
                             sum.x[lane] = total(sum.x[lane], inside ? dx : T(0));
                             sum.y[lane] = total(sum.y[lane], inside ? dy : T(0));
                             sum.count[lane] += inside;
                           });
  for (int lane = 0; lane < Lanes<T>::COUNT; ++lane) {
    const T count = sum.count[lane] ? static_cast<T>(sum.count[lane]) : T(1);
    slopes.y[lane] = sum.y[lane] / count;
    slopes.x[lane] = sum.x[lane] / count;
    slopes.count[lane] = sum.count[lane];
  }
}

template <class T>
void forward(const DeformPsroiArrays<T>& a, int64_t begin, int64_t end) {
  const DeformPsroiShape& s = a.shape;
  const int64_t bins = static_cast<int64_t>(s.pooled) * s.pooled;
  Lanes<T> lanes;
  alignas(64) T result[Lanes<T>::COUNT];
  for (int64_t row = begin; row < end;) {
    const int64_t roi = row / s.output_dim, roi_end = (roi + 1) * s.output_dim < end ? (roi + 1) * s.output_dim : end;
    const int64_t first = (row - roi * s.output_dim) * bins, last = (roi_end - roi * s.output_dim) * bins;
    T* output = a.output + roi * s.output_dim * bins;
    row = roi_end;
    const int image = roi_image(a.rois + roi * 5, s.num_images);
    if (image < 0) {
      for (int64_t i = first; i < last; ++i) output[i] = T(0);
      continue;
    }
    const RoiContext<T> context = roi_context(a, roi, image);
    for (int64_t i = first; i < last; i += Lanes<T>::COUNT) {
      fill_lanes(lanes, a, context, i, last);
      pool_lanes(lanes, s, context, result);
      for (int64_t lane = 0; lane < Lanes<T>::COUNT && i + lane < last; ++lane) output[i + lane] = result[lane];
    }
  }
}

template <class T>
void grad_offset(const DeformPsroiArrays<T>& a, int64_t begin, int64_t end) {
  const DeformPsroiShape& s = a.shape;
  const int64_t bins = static_cast<int64_t>(s.pooled) * s.pooled;
  const int64_t bins_per_class = s.output_dim / s.num_classes * bins;
  const int part_size = s.part * s.part;
  Lanes<T> lanes;
  LaneSlopes<T> slopes;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t roi = row / s.num_classes, first = row % s.num_classes * bins_per_class;
    const int image = roi_image(a.rois + roi * 5, s.num_images);
    if (image < 0) continue;  // grad_offset is zeroed beforehand
    const T* grad = a.output + roi * s.output_dim * bins;
    T* grad_offset = a.grad_offset + roi * s.num_classes * 2 * part_size;
    const RoiContext<T> context = roi_context(a, roi, image);
    const T per_y = product(context.roi.y.extent, a.trans_std), per_x = product(context.roi.x.extent, a.trans_std);
    for (int64_t i = first; i < first + bins_per_class; i += Lanes<T>::COUNT) {
      fill_lanes(lanes, a, context, i, first + bins_per_class);
      slope_lanes(lanes, s, context, slopes);
      for (int64_t lane = 0; lane < Lanes<T>::COUNT && i + lane < first + bins_per_class; ++lane) {
        if (slopes.count[lane] == 0) continue;  // no gradient, whatever comes from above, NaN included
        T* x = grad_offset + lanes.part[lane];
        x[0] += slopes.x[lane] * per_x * grad[i + lane];
        x[part_size] += slopes.y[lane] * per_y * grad[i + lane];
      }
    }
  }
}

}  // namespace

void deform_psroi_forward(const DeformPsroiArrays<float>& a, int64_t begin, int64_t end) { forward(a, begin, end); }
void deform_psroi_forward(const DeformPsroiArrays<double>& a, int64_t begin, int64_t end) { forward(a, begin, end); }
void deform_psroi_grad_offset(const DeformPsroiArrays<float>& a, int64_t begin, int64_t end) {
  grad_offset(a, begin, end);
}
void deform_psroi_grad_offset(const DeformPsroiArrays<double>& a, int64_t begin, int64_t end) {
  grad_offset(a, begin, end);
}

}  // namespace dcn::cpu::DCN_ISA
