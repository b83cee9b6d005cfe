// The bodies of the fused deform_psroi_pool kernels, run on the CPU by simt_emulator.h, against the sample-by-sample
// arithmetic of csrc/core summed in float64. Exit code 1 names the case that differs.
//   g++ -std=c++20 -O1 -Itorch_port/csrc tests/cuda/emulate_psroi.cpp && ./a.out
#include "fused_cases.h"

#include "cuda/fused/psroi_pool.h"
#include "cuda/fused/transpose.h"

namespace {

struct PoolCase {
  const char* name;
  DeformPsroiShape shape;  // images, channels, height, width; RoIs, D, group, pooled, part, samples, classes
  bool offset;
  double spatial_scale, trans_std;
};

const std::vector<PoolCase> POOL_CASES = {
    {"R-FCN: one class a channel", {2, 21 * 9, 7, 9, 7, 21, 3, 3, 3, 4, 21}, true, 1.0 / 16, 0.1},
    {"all channels share their samples", {2, 8 * 9, 6, 5, 7, 8, 3, 3, 3, 4, 1}, true, 1.0 / 16, 0.1},
    {"no offset, large RoIs, sparse samples", {1, 5, 23, 40, 7, 5, 1, 2, 2, 3, 1}, false, 1.0, 0.0},
    {"uneven parts and groups, 300 channels", {1, 300 * 4, 6, 5, 7, 300, 2, 5, 3, 2, 3}, true, 1.0 / 8, 0.5},
    {"far offsets, many samples", {2, 6 * 4, 8, 8, 7, 6, 2, 2, 1, 9, 2}, true, 1.0 / 8, 2.0},
};

constexpr double ROIS[7][5] = {{0, 3.2, 5.7, 61.4, 44.9}, {1, 0.5, 1.5, 40.5, 70.5}, {0, -30, -20, 25, 18},
                               {1, 70, 60, 140, 120},     {0, 10, 10, 10, 10},       {NAN, 0, 0, 95, 79},
                               {0, -300, -300, -200, -200}};

// Rows of D matrices [from] as the kernels want them; the way back; both by the emulated kernel.
template <class From, class To>
void turn(const From* from, To* to, int64_t images, int64_t rows, int64_t columns, Order order) {
  const TransposeOperands<From, To> a = {from, to, rows, columns};
  static To tile[SIDE][SIDE + 1];
  for (int64_t block = 0; block < images * a.tiles(); ++block) {
    emulator::run_block(order, [&] { transpose_block(a, tile, block); });
  }
}

template <class S, class T>
bool agrees(const char* type, const PoolCase& c, bool fixed_point, Order order, double allowed) {
  const DeformPsroiShape& s = c.shape;
  const int64_t plane = int64_t(s.height) * s.width, pixels = int64_t(s.group) * s.group * plane, bins = s.pooled * s.pooled;
  const int64_t part = int64_t(s.part) * s.part;
  Aligned<S> input(s.num_images * s.channels * plane), maps(input.count), grad(s.num_rois * s.output_dim * bins);
  Aligned<S> output(grad.count);
  Aligned<T> rois(s.num_rois * 5), offset(int64_t(s.num_rois) * s.num_classes * 2 * part), sums(input.count);
  Aligned<T> slopes(grad.count * 2), grad_input(input.count), grad_offset(offset.count);
  Aligned<int64_t> fixed(input.count);
  std::mt19937 random(11);
  fill_normal(input, random, 1), fill_normal(grad, random, 1), fill_normal(offset, random, 1);
  fill(output, S(12345.0f)), fill(sums, T(0)), fill(slopes, T(NAN)), fill(grad_offset, T(NAN)), fill(fixed, int64_t(0));
  for (int i = 0; i < s.num_rois * 5; ++i) {
    rois[i] = T(ROIS[i / 5][i % 5]);
    if (i % 5 == 0 && rois[i] > T(s.num_images - 1)) rois[i] = T(0);
  }
  offset[0] = T(0);
  if (c.offset) offset[2 * part] = T(1e30);
  turn(input.data(), maps.data(), s.num_images, s.output_dim, pixels, order);

  PsroiOperands<S, T> a = {};
  a.shape = s, a.spatial_scale = T(float(c.spatial_scale)), a.trans_std = T(float(c.trans_std));
  a.units_per_block = std::max(1, THREADS / a.per_class()), a.maps = maps.data(), a.rois = rois.data();
  a.offset = c.offset ? offset.data() : nullptr;
  a.output = output.data(), a.grad = grad.data(), a.grad_input = sums.data(), a.slopes = slopes.data();
  unsigned largest = 0;
  for (int64_t i = 0; i < grad.count; ++i) simt::keep_largest(&largest, finite_size(static_cast<float>(grad[i])));
  const int exponent = fixed_point_exponent(s.num_rois * bins, binary_exponent(largest));
  if (fixed_point) a.fixed = fixed.data(), a.exponent = &exponent;
  std::vector<char> memory(PsroiShared<T>::bytes(a.units_per_block, list_capacity(s)));
  for (int64_t block = 0; block * a.units_per_block < a.units(); ++block) {
    std::memset(memory.data(), 0xff, memory.size());
    emulator::run_block(order, [&] { psroi_forward_block(a, memory.data(), block); });
    std::memset(memory.data(), 0xff, memory.size());
    emulator::run_block(order, [&] { psroi_backward_block(a, memory.data(), block); });
  }
  for (int64_t i = 0; fixed_point && i < fixed.count; ++i) sums[i] += from_fixed(fixed[i], exponent);
  turn(sums.data(), grad_input.data(), s.num_images, pixels, s.output_dim, order);
  for (int64_t i = 0; i < s.num_rois * s.num_classes * part; ++i) add_slopes(s, slopes.data(), grad_offset.data(), i);

  std::vector<Exact> to_input(input.count), to_offset(offset.count);
  Worst forward, for_input, for_offset;
  for (int64_t roi = 0; roi < s.num_rois; ++roi) {
    const int image = roi_image(rois.data() + roi * 5, s.num_images);
    for (int64_t i = 0; i < s.output_dim * bins; ++i) {
      const int channel = static_cast<int>(i / bins), row = static_cast<int>(i % bins) / s.pooled, column = i % s.pooled;
      const int64_t element = roi * s.output_dim * bins + i;
      const int64_t shared = roi * s.num_classes + channel / (s.output_dim / s.num_classes);
      const int64_t at = shared * 2 * part + part_cell<T>(row, s.pooled, s.part) * s.part + part_cell<T>(column, s.pooled, s.part);
      Exact value, slope_along_x, slope_along_y;
      int inside = 0;
      if (image >= 0) {
        const auto window = deform_psroi_roi(rois.data() + roi * 5, a.spatial_scale);
        const T shift_x = c.offset ? product(offset[at], a.trans_std) : T(0);
        const T shift_y = c.offset ? product(offset[at + part], a.trans_std) : T(0);
        const T p = T(s.pooled), n = T(s.samples);
        const BinAxis<T> y = bin_axis(window.y, T(row), p, n, shift_y), x = bin_axis(window.x, T(column), p, n, shift_x);
        inside = samples_inside(y, s.samples, s.height) * samples_inside(x, s.samples, s.width);
        const int64_t map = (image * s.channels + (int64_t(channel) * s.group + group_cell<T>(row, s.pooled, s.group)) * s.group +
                             group_cell<T>(column, s.pooled, s.group)) * plane;
        const double above = double(static_cast<T>(grad[element]));
        for_each_sample(y, x, s.samples, s.height, s.width, [&](AxisSample<T> ay, AxisSample<T> ax) {
          const auto v = load_corners<S, T>(input.data() + map, s.width, ay, ax);
          const double fy = ay.fraction, fx = ax.fraction, share = above / inside;
          const auto give = [&](int py, int px, double corner, double w) {
            value.add(corner * w / inside);
            if (w != 0) to_input[map + py * s.width + px].add(w * share);
          };
          give(ay.low, ax.low, v.v00, (1 - fy) * (1 - fx)), give(ay.low, ax.high, v.v01, (1 - fy) * fx);
          give(ay.high, ax.low, v.v10, fy * (1 - fx)), give(ay.high, ax.high, v.v11, fy * fx);
          const double per_x = share * window.x.extent * a.trans_std, per_y = share * window.y.extent * a.trans_std;
          slope_along_x.add((double(v.v01) - v.v00) * (1 - fy) * per_x), slope_along_x.add((double(v.v11) - v.v10) * fy * per_x);
          slope_along_y.add((double(v.v10) - v.v00) * (1 - fx) * per_y), slope_along_y.add((double(v.v11) - v.v01) * fx * per_y);
        });
      }
      forward.see(double(static_cast<T>(output[element])), value);
      to_offset[at].add(slope_along_x.sum, slope_along_x.size), to_offset[at + part].add(slope_along_y.sum, slope_along_y.size);
    }
  }
  for (int64_t i = 0; i < input.count; ++i) for_input.see(grad_input[i], to_input[i]);
  for (int64_t i = 0; i < offset.count; ++i) for_offset.see(grad_offset[i], to_offset[i]);
  const Case named = {c.name, {}, false, false, false};
  bool good = judged("output", named, type, forward.error, allowed);
  good &= judged("grad_input", named, type, for_input.error, sizeof(T) == 4 ? 2e-6 : 1e-12);
  return judged("grad_offset", named, type, for_offset.error, sizeof(T) == 4 ? 2e-6 : 1e-12) && good;
}

}  // namespace

int main() {
  bool good = true;
  for (size_t i = 0; i < POOL_CASES.size(); ++i) {
    const Order order = {i % 2 == 1, false};
    good &= agrees<double, double>("float64", POOL_CASES[i], false, order, 1e-12);
    good &= agrees<float, float>("float32, fixed point", POOL_CASES[i], true, order, 2e-6);
    good &= agrees<Bf16, float>("bfloat16", POOL_CASES[i], false, order, 4e-3);
  }
  return good ? 0 : 1;
}
