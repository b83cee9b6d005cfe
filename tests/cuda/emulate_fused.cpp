// The fused forward kernel's index arithmetic, run on the CPU: the block's 256 threads one after the other between its
// barriers, with the very functions the kernel calls, and the tensor core instruction replaced by its definition.
// Against core/deform_conv.h in double. Exit code 1 names the case that differs.
//   g++ -std=c++20 -O1 -Itorch_port/csrc tests/cuda/emulate_fused.cpp && ./a.out
#include <cmath>
#include <cstdio>
#include <cstdint>
#include <random>
#include <type_traits>
#include <vector>

#include "cuda/deform_conv_multiply.h"

using namespace dcn;
using namespace dcn::cuda::fused;

namespace {

// bfloat16 by rounding to nearest even; the emulation has no CUDA header.
struct Bf16 {
  uint16_t bits = 0;
  Bf16() = default;
  explicit Bf16(float value) {
    uint32_t u;
    memcpy(&u, &value, 4);
    bits = static_cast<uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16);
  }
  explicit operator float() const {
    const uint32_t u = uint32_t(bits) << 16;
    float value;
    memcpy(&value, &u, 4);
    return value;
  }
};

float half_of(unsigned pair, int which) {
  Bf16 b;
  b.bits = static_cast<uint16_t>(which ? pair >> 16 : pair);
  return static_cast<float>(b);
}

// mma.m16n8k16 on one warp: A and B are put together from the lanes' registers by the PTX manual's layout, written here
// a second time, on purpose in another form than in deform_conv_multiply.h.
void emulate_mma(float (*sum)[4], const unsigned (*a)[4], const unsigned (*b)[2]) {
  float A[16][16], B[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 8; ++i) {  // element i of lane's eight of A
      const int row = (i < 2 || (i >= 4 && i < 6)) ? lane >> 2 : (lane >> 2) + 8;
      const int column = ((lane & 3) << 1) + (i & 1) + (i < 4 ? 0 : 8);
      A[row][column] = half_of(a[lane][i >> 1], i & 1);
    }
    for (int i = 0; i < 4; ++i) {
      const int row = ((lane & 3) << 1) + (i & 1) + (i < 2 ? 0 : 8);
      B[row][lane >> 2] = half_of(b[lane][i >> 1], i & 1);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const int row = (lane >> 2) + (i < 2 ? 0 : 8), column = ((lane & 3) << 1) + (i & 1);
      for (int k = 0; k < 16; ++k) sum[lane][i] += A[row][k] * B[k][column];
    }
  }
}

template <int BN>
void multiply(std::vector<PlainMultiply<BN>>& all, const Vector* rows, const Vector* columns) {
  for (int thread = 0; thread < THREADS; ++thread) all[thread].step(rows, columns, thread);
}

// The lanes of a warp run one after the other up to each instruction: two passes, collect then hand out.
template <int BN>
void multiply(std::vector<MatrixMultiply<BN>>& all, const Vector* rows, const Vector* columns) {
  constexpr int CALLS = MatrixMultiply<BN>::DEPTH_STEPS * MatrixMultiply<BN>::COLUMN_TILES * MatrixMultiply<BN>::ROW_TILES;
  for (int warp = 0; warp < THREADS / 32; ++warp) {
    std::vector<unsigned> a(CALLS * 32 * 4), b(CALLS * 32 * 2);
    std::vector<float*> sums(CALLS * 32);
    for (int lane = 0; lane < 32; ++lane) {
      int call = 0;
      all[warp * 32 + lane].step(rows, columns, warp * 32 + lane,
                                 [&](float (&sum)[4], const unsigned (&fa)[4], const unsigned (&fb)[2]) {
                                   for (int i = 0; i < 4; ++i) a[(call * 32 + lane) * 4 + i] = fa[i];
                                   for (int i = 0; i < 2; ++i) b[(call * 32 + lane) * 2 + i] = fb[i];
                                   sums[call * 32 + lane] = sum;
                                   ++call;
                                 });
    }
    for (int call = 0; call < CALLS; ++call) {
      float sum[32][4];
      for (int lane = 0; lane < 32; ++lane) memcpy(sum[lane], sums[call * 32 + lane], 16);
      emulate_mma(sum, reinterpret_cast<const unsigned(*)[4]>(&a[call * 32 * 4]),
                  reinterpret_cast<const unsigned(*)[2]>(&b[call * 32 * 2]));
      for (int lane = 0; lane < 32; ++lane) memcpy(sums[call * 32 + lane], sum[lane], 16);
    }
  }
}

// fused_forward of deform_conv_fused.cu, phase by phase.
template <class Border, class S, int BN>
void block(const Operands<S>& a, int64_t block_x, int64_t block_y) {
  using Multiply = std::conditional_t<std::is_same_v<S, float>, PlainMultiply<BN>, MatrixMultiply<BN>>;
  std::vector<Vector> rows[2], columns[2];
  std::vector<Record> records[2];
  for (int i = 0; i < 2; ++i) rows[i].resize(BM * ROW_STRIDE), columns[i].resize(BN * ROW_STRIDE), records[i].resize(BM);
  std::vector<Multiply> products(THREADS);
  std::vector<Load<BN>> carried(THREADS);
  const Tile tile = tile_of<BN>(a.shape, block_x, block_y);
  const int steps = steps_of<S>(a.shape);
  const Step start = first_step(a.shape, tile);
  Step next = step_after<S>(a.shape, tile, start);
  for (int t = 0; t < BM; ++t) {
    records[0][t] = record_of<Border>(a, tile, start, t);
    if (steps > 1 && !next.shares_samples(start)) records[1][t] = record_of<Border>(a, tile, next, t);
  }
  for (int t = 0; t < THREADS; ++t) {
    load(a, tile, start, records[0].data(), t, carried[t]);
    store<S>(carried[t], records[0].data(), t, rows[0].data(), columns[0].data());
  }
  int slot = 0;
  bool shares = next.shares_samples(start);
  for (int it = 0; it < steps; ++it) {
    const int now = it & 1;
    if (it + 1 < steps) {
      slot = shares ? slot : slot ^ 1;
      for (int t = 0; t < THREADS; ++t) load(a, tile, next, records[slot].data(), t, carried[t]);
    }
    if (it + 2 < steps) {
      const Step later = step_after<S>(a.shape, tile, next);
      shares = later.shares_samples(next);
      for (int t = 0; t < BM && !shares; ++t) records[slot ^ 1][t] = record_of<Border>(a, tile, later, t);
      next = later;
    }
    multiply(products, rows[now].data(), columns[now].data());
    for (int t = 0; t < THREADS && it + 1 < steps; ++t) {
      store<S>(carried[t], records[slot].data(), t, rows[now ^ 1].data(), columns[now ^ 1].data());
    }
  }
  for (int t = 0; t < THREADS; ++t) {
    products[t].results(t, [&](int row, int column, float sum) { write_result(a, tile, row, column, sum); });
  }
}

struct Case {
  const char* name;
  DeformConvShape shape;
  bool mask, bias, channels_last;
};

template <class S>
std::vector<S> normal(std::mt19937& random, int64_t count, float scale) {
  std::normal_distribution<float> draw(0, scale);
  std::vector<S> values(count + 8);  // exactly `count` are used; address sanitizer watches the rest
  values.resize(count);
  for (auto& v : values) v = static_cast<S>(draw(random));
  return values;
}

template <class Border, class S, int BN>
bool agrees(const Case& c) {
  const DeformConvShape& s = c.shape;
  if (!fits<S>(s)) return std::printf("%s: the shape does not fit\n", c.name), false;
  std::mt19937 random(7);
  const int64_t taps = s.taps(), positions = s.positions(), depth = s.channels_per_group();
  const auto input = normal<S>(random, s.images * s.height * s.width * s.channels, 1);
  const auto weight = normal<S>(random, s.out_channels * taps * depth, 0.1f);
  const auto bias = normal<S>(random, s.out_channels, 1);
  auto offset = normal<float>(random, s.images * s.offset_groups * taps * 2 * positions, 2);
  const auto mask = normal<float>(random, s.images * s.offset_groups * taps * positions, 1);
  offset[3] = NAN, offset[5] = 1e30f;
  for (size_t i = 0; i < offset.size(); i += 7) offset[i] = std::round(offset[i]);  // exactly on cells, as at first
  std::vector<S> output(s.images * s.out_channels * positions, S(12345.0f));  // poison
  const int64_t out_channels = s.out_channels;
  const Operands<S> a = {s, input.data(), offset.data(), c.mask ? mask.data() : nullptr, weight.data(),
                         c.bias ? bias.data() : nullptr, output.data(), out_channels * positions,
                         c.channels_last ? 1 : positions, c.channels_last ? out_channels : 1};
  const Grid<BN> grid(s);
  for (int64_t y = 0; y < s.groups * grid.channel_tiles; ++y) {
    for (int64_t x = 0; x < s.images * grid.position_tiles; ++x) block<Border, S, BN>(a, x, y);
  }
  double worst = 0;
  for (int64_t image = 0; image < s.images; ++image) {
    for (int64_t position = 0; position < positions; ++position) {
      for (int64_t o = 0; o < out_channels; ++o) {
        const int64_t first = o / s.out_channels_per_group() * depth;
        double sum = c.bias ? double(static_cast<float>(bias[o])) : 0;
        for (int64_t k = 0; k < depth; ++k) {
          for (int64_t tap = 0; tap < taps; ++tap) {
            const auto sample = dcn::cuda::sample_at<Border>(s, a.offset, a.mask, image,
                                                             (first + k) / s.channels_per_offset_group(), tap, position);
            if (!sample.cell.inside()) continue;
            const auto v = bilinear_corners<S, float>(input.data() + image * s.height * s.width * s.channels + first + k,
                                                      sample.cell, s.width * s.channels, s.channels);
            sum += double(bilinear_value(v, bilinear_weights(sample.cell))) * sample.mask *
                   static_cast<float>(weight[(o * taps + tap) * depth + k]);
          }
        }
        const float got = static_cast<float>(output[image * a.out_stride_image + o * a.out_stride_channel +
                                                    position * a.out_stride_position]);
        const double error = std::fabs(got - sum) / (1 + std::fabs(sum));
        worst = error > worst || !(error == error) ? error : worst;
      }
    }
  }
  // float32: rounding of sums of some hundred terms. bfloat16: samples and the result are rounded to 8 bits.
  const double allowed = std::is_same_v<S, float> ? 1e-5 : 3e-2;
  const bool good = worst <= allowed;
  std::printf("%-44s %-8s BN %3d | worst relative error %.2e | allowed %.0e | %s\n", c.name,
              std::is_same_v<S, float> ? "float32" : "bfloat16", BN, worst, allowed, good ? "holds" : "DOES NOT HOLD");
  return good;
}

}  // namespace

int main() {
  //                                            N  C   H   W  O    OH OW kh kw sh sw ph pw dh dw groups G
  const std::vector<Case> cases = {
      {"one tap, one chunk, one position tile", {1, 32, 8, 8, 8, 8, 8, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1}, false, false, false},
      {"3x3, partial tiles of positions and channels", {2, 64, 7, 11, 40, 7, 11, 3, 3, 1, 1, 2, 2, 2, 2, 1, 2}, true, true, false},
      {"channels last out, stride 2", {1, 64, 13, 9, 136, 7, 5, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1}, false, true, true},
      {"weight groups wider than offset groups", {1, 192, 6, 6, 12, 7, 6, 2, 3, 1, 1, 1, 1, 1, 1, 2, 6}, true, false, false},
      {"offset groups wider than weight groups", {1, 192, 6, 6, 12, 6, 6, 1, 3, 1, 1, 0, 1, 1, 1, 6, 3}, true, true, true},
      {"groups that cut across each other", {1, 192, 5, 6, 6, 5, 6, 3, 1, 1, 1, 1, 0, 1, 1, 2, 3}, false, true, false},
  };
  bool good = true;
  for (const Case& c : cases) {
    DeformConvShape s = c.shape;
    if (s.out_height != convolved_size(s.height, s.kernel_h, s.stride_h, s.pad_h, s.dilation_h) ||
        s.out_width != convolved_size(s.width, s.kernel_w, s.stride_w, s.pad_w, s.dilation_w)) {
      std::printf("%s: the case itself is wrong: output %lld x %lld\n", c.name,
                  static_cast<long long>(convolved_size(s.height, s.kernel_h, s.stride_h, s.pad_h, s.dilation_h)),
                  static_cast<long long>(convolved_size(s.width, s.kernel_w, s.stride_w, s.pad_w, s.dilation_w)));
      good = false;
      continue;
    }
    good &= agrees<ClampBorder, float, 128>(c);
    good &= agrees<ZerosBorder, float, 128>(c);
    good &= agrees<ClampBorder, Bf16, 128>(c);
    good &= agrees<ZerosBorder, Bf16, 256>(c);
  }
  return good ? 0 : 1;
}
