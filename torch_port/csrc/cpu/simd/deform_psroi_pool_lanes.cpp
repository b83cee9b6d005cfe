// deform_psroi_pool with one bin per vector lane; compiled once per instruction set. The arithmetic is that of
// core/deform_psroi_pool.h, lane by lane and in the same order: tests hold it to the plain kernels bit for bit.
#include "cpu/deform_psroi_pool.h"
#include "cpu/simd/wide.h"

namespace dcn::cpu::DCN_ISA {
namespace {

template <class T>
using Real = typename Wide<T>::Real;
template <class T>
using Int = typename Wide<T>::Int;

// Consecutive (output channel, bin) pairs of one RoI, one per lane.
template <class T>
struct Lanes {
  static constexpr int COUNT = Wide<T>::LANES;
  Real<T> first_y, first_x;  // positions of the first samples
  Int<T> plane;              // element of the image where the lane's channel begins
  int64_t bin[COUNT];        // element of the RoI's output
  int part[COUNT];           // element of offset (and its gradient) for x; y is part * part further
};

// What the bins of a RoI share.
template <class T>
struct RoiContext {
  DeformPsroiRoi<T> roi;
  const T* image;
  const T* offset;  // this RoI's, or null
  T step_y, step_x;
  int pixel;  // elements from one pixel to the next
};

template <class T>
DCN_HD RoiContext<T> roi_context(const DeformPsroiArrays<T>& a, int64_t roi, int image) {
  const DeformPsroiShape& s = a.shape;
  RoiContext<T> c;
  c.roi = deform_psroi_roi(a.rois + roi * 5, a.spatial_scale);
  c.image = a.input + image * a.map.image;
  c.pixel = static_cast<int>(a.map.place);
  c.offset = a.offset ? a.offset + roi * s.num_classes * 2 * s.part * s.part : nullptr;
  c.step_y = bin_axis(c.roi.y, T(0), T(s.pooled), T(s.samples), T(0)).step;
  c.step_x = bin_axis(c.roi.x, T(0), T(s.pooled), T(s.samples), T(0)).step;
  return c;
}

// core's bin_axis, first samples only.
template <class T>
DCN_HD Real<T> first_samples(RoiAxis<T> roi, Real<T> bin, T pooled, Real<T> shift) {
  const T bin_extent = roi.extent / pooled;
  const Real<T> start = bin * bin_extent + roi.start;
  return start + shift * roi.extent;
}

// Lanes of the pairs first, first + 1, ...; those past `last` repeat the last pair.
template <class T>
DCN_HD Lanes<T> lanes_of(const DeformPsroiArrays<T>& a, const RoiContext<T>& c, int64_t first, int64_t last) {
  const DeformPsroiShape& s = a.shape;
  const int bins = s.pooled * s.pooled, plane_step = static_cast<int>(a.map.channel), part_size = s.part * s.part;
  const int channels_per_class = s.output_dim / s.num_classes;
  int channel = static_cast<int>(first / bins);
  int row = static_cast<int>(first % bins) / s.pooled, column = static_cast<int>(first % bins) % s.pooled;
  int class_start = channel / channels_per_class * 2 * part_size;
  Real<T> bin_y = {}, bin_x = {}, shift_y = {}, shift_x = {};
  Lanes<T> lanes;
  for (int lane = 0; lane < Lanes<T>::COUNT; ++lane) {
    bin_y[lane] = static_cast<T>(row);
    bin_x[lane] = static_cast<T>(column);
    lanes.plane[lane] = ((channel * s.group + a.group_cells[row]) * s.group + a.group_cells[column]) * plane_step;
    lanes.bin[lane] = channel * a.pooled.channel + (row * s.pooled + column) * a.pooled.place;
    const int part = class_start + a.part_cells[row] * s.part + a.part_cells[column];
    lanes.part[lane] = part;
    if (c.offset) {
      shift_x[lane] = c.offset[part];
      shift_y[lane] = c.offset[part + part_size];
    }
    if (first + lane + 1 >= last) continue;
    if (++column < s.pooled) continue;
    column = 0;
    if (++row < s.pooled) continue;
    row = 0;
    class_start = ++channel / channels_per_class * 2 * part_size;
  }
  lanes.first_y = first_samples<T>(c.roi.y, bin_y, T(s.pooled), shift_y * a.trans_std);
  lanes.first_x = first_samples<T>(c.roi.x, bin_x, T(s.pooled), shift_x * a.trans_std);
  return lanes;
}

// core's AxisSample.
template <class T>
struct WideSample {
  Int<T> low, high, inside;
  Real<T> fraction;
};

template <class T>
DCN_HD WideSample<T> wide_sample(Real<T> first, T step, int sample, int size) {
  const T last = static_cast<T>(size - 1);
  const Real<T> zero = {};
  const Real<T> position = first + static_cast<T>(sample) * step;
  const Int<T> inside = (position >= T(-0.5)) & (position <= last + T(0.5));  // false for NaN
  Real<T> clamped = inside ? position : zero;
  clamped = clamped < zero ? zero : clamped;
  clamped = clamped > last ? zero + last : clamped;
  const Int<T> low = __builtin_convertvector(clamped, Int<T>);
  const Real<T> fraction = clamped - __builtin_convertvector(low, Real<T>);
  return {low, low - (fraction > zero), inside, fraction};
}

template <class T>
struct WideCorners {
  Real<T> v00, v01, v10, v11;
};

// f(corners, fraction_y, fraction_x, inside) for every sample; where a lane is not inside, its corners are some
// element of its plane.
template <class T, class F>
DCN_HD void for_each_wide_sample(const Lanes<T>& lanes, const DeformPsroiShape& s, const RoiContext<T>& c, F f) {
  for (int iy = 0; iy < s.samples; ++iy) {
    const WideSample<T> y = wide_sample<T>(lanes.first_y, c.step_y, iy, s.height);
    const int line = s.width * c.pixel;
    const Int<T> top = lanes.plane + y.low * line, bottom = lanes.plane + y.high * line;
    for (int ix = 0; ix < s.samples; ++ix) {
      const WideSample<T> x = wide_sample<T>(lanes.first_x, c.step_x, ix, s.width);
      const Int<T> left = c.pixel == 1 ? x.low : x.low * c.pixel, right = c.pixel == 1 ? x.high : x.high * c.pixel;
      const WideCorners<T> v = {gather(c.image, top + left), gather(c.image, top + right),
                                gather(c.image, bottom + left), gather(c.image, bottom + right)};
      f(v, y.fraction, x.fraction, y.inside & x.inside);
    }
  }
}

template <class T>
DCN_HD Real<T> pooled_lanes(const Lanes<T>& lanes, const DeformPsroiShape& s, const RoiContext<T>& c) {
  const Real<T> zero = {};
  Real<T> sum = {};
  Int<T> count = {};
  for_each_wide_sample(
      lanes, s, c,
      [&](WideCorners<T> v, Real<T> fraction_y, Real<T> fraction_x, Int<T> inside) __attribute__((always_inline)) {
        const Real<T> left = T(1) - fraction_x, upper = T(1) - fraction_y;
        const Real<T> value = left * upper * v.v00 + left * fraction_y * v.v10 + fraction_x * upper * v.v01 +
                              fraction_x * fraction_y * v.v11;
        sum += inside ? value : zero;
        count -= inside;
      });
  const Real<T> divisor = __builtin_convertvector(count, Real<T>);
  return count > 0 ? sum / divisor : zero;
}

// Slope of each lane's mean per feature pixel of shift, and how many samples it has.
template <class T>
struct WideSlopes {
  Real<T> y, x;
  Int<T> count;
};

template <class T>
DCN_HD WideSlopes<T> slope_lanes(const Lanes<T>& lanes, const DeformPsroiShape& s, const RoiContext<T>& c) {
  const Real<T> zero = {};
  WideSlopes<T> sum = {};
  for_each_wide_sample(
      lanes, s, c,
      [&](WideCorners<T> v, Real<T> fraction_y, Real<T> fraction_x, Int<T> inside) __attribute__((always_inline)) {
        const Real<T> dx = (v.v11 - v.v10) * fraction_y + (v.v01 - v.v00) * (T(1) - fraction_y);
        const Real<T> dy = (v.v11 - v.v01) * fraction_x + (v.v10 - v.v00) * (T(1) - fraction_x);
        sum.x += inside ? dx : zero;
        sum.y += inside ? dy : zero;
        sum.count -= inside;
      });
  const Real<T> divisor = __builtin_convertvector(sum.count, Real<T>);
  return {sum.count > 0 ? sum.y / divisor : zero, sum.count > 0 ? sum.x / divisor : zero, sum.count};
}

template <class T>
void forward(const DeformPsroiArrays<T>& a, int64_t begin, int64_t end) {
  const DeformPsroiShape& s = a.shape;
  const int64_t bins = static_cast<int64_t>(s.pooled) * s.pooled;
  for (int64_t row = begin; row < end;) {
    const int64_t roi = row / s.output_dim, roi_end = (roi + 1) * s.output_dim < end ? (roi + 1) * s.output_dim : end;
    const int64_t first = (row - roi * s.output_dim) * bins, last = (roi_end - roi * s.output_dim) * bins;
    T* output = a.output + roi * a.pooled.image;
    row = roi_end;
    const int image = roi_image(a.rois + roi * 5, s.num_images);
    if (image < 0) {
      for (int64_t i = first; i < last; ++i) output[i / bins * a.pooled.channel + i % bins * a.pooled.place] = T(0);
      continue;
    }
    const RoiContext<T> context = roi_context(a, roi, image);
    for (int64_t i = first; i < last; i += Lanes<T>::COUNT) {
      const Lanes<T> lanes = lanes_of(a, context, i, last);
      const Real<T> result = pooled_lanes(lanes, s, context);
      const int64_t count = last - i < Lanes<T>::COUNT ? last - i : Lanes<T>::COUNT;
      for (int64_t lane = 0; lane < count; ++lane) output[lanes.bin[lane]] = result[lane];
    }
  }
}

template <class T>
void grad_offset(const DeformPsroiArrays<T>& a, int64_t begin, int64_t end) {
  const DeformPsroiShape& s = a.shape;
  const int64_t bins = static_cast<int64_t>(s.pooled) * s.pooled;
  const int64_t bins_per_class = s.output_dim / s.num_classes * bins;
  const int part_size = s.part * s.part;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t roi = row / s.num_classes, first = row % s.num_classes * bins_per_class;
    const int64_t last = first + bins_per_class;
    const int image = roi_image(a.rois + roi * 5, s.num_images);
    if (image < 0) continue;  // grad_offset is zeroed beforehand
    const T* grad = a.output + roi * a.pooled.image;
    T* grad_offset = a.grad_offset + roi * s.num_classes * 2 * part_size;
    const RoiContext<T> context = roi_context(a, roi, image);
    const T per_y = product(context.roi.y.extent, a.trans_std), per_x = product(context.roi.x.extent, a.trans_std);
    for (int64_t i = first; i < last; i += Lanes<T>::COUNT) {
      const Lanes<T> lanes = lanes_of(a, context, i, last);
      const WideSlopes<T> slopes = slope_lanes(lanes, s, context);
      for (int64_t lane = 0; lane < Lanes<T>::COUNT && i + lane < last; ++lane) {
        if (slopes.count[lane] == 0) continue;  // no gradient, whatever comes from above, NaN included
        T* x = grad_offset + lanes.part[lane];
        const T from_above = grad[lanes.bin[lane]];
        x[0] += slopes.x[lane] * per_x * from_above;
        x[part_size] += slopes.y[lane] * per_y * from_above;
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
