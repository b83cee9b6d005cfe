// Gathering samples: where they lie (once per position, tap and offset group), the four corners' 16-byte loads, and
// interpolation in float32.
#pragma once

#include "core/deform_conv.h"
#include "cuda/deform_conv.cuh"
#include "cuda/fused/precision.h"

namespace dcn::cuda::fused {

// float32 numbers, or numbers of the map's type read as float32.
template <class S>
struct Numbers {
  const float* wide;
  const S* small;

  DCN_MEMBER bool exist() const { return wide != nullptr || small != nullptr; }
  DCN_MEMBER float operator[](int64_t i) const { return wide != nullptr ? wide[i] : static_cast<float>(small[i]); }
};

// What the kernels sample from. The map lies with channels innermost: [N, H, W, C].
template <class S>
struct Source {
  DeformConvShape shape;
  Border border;
  const S* input;
  Numbers<S> offset, mask;

  DCN_DEVICE const S* image(int64_t n) const { return input + n * (shape.height * shape.width * shape.channels); }
  DCN_DEVICE Sample<float> sample(int64_t n, int offset_group, int tap, int64_t position) const {
    return sample_at<float>(shape, border, offset, mask, mask.exist(), n, offset_group, tap, position);
  }
};

// Where one position's sample lies: elements from the start of its image, -1 for a corner that is not read; weights
// with the mask multiplied in.
struct Record {
  int at[4];
  float weight[4];
};

template <class S>
DCN_DEVICE void corners_of(const Source<S>& from, const BilinearCell<float>& cell, int (&at)[4]) {
  const FourCorners<int64_t> a =
      bilinear_addresses(cell, from.shape.width * from.shape.channels, from.shape.channels, int64_t(-1));
  at[0] = static_cast<int>(a.v00), at[1] = static_cast<int>(a.v01);
  at[2] = static_cast<int>(a.v10), at[3] = static_cast<int>(a.v11);
}

// A position beyond the map reads nothing.
template <class S>
DCN_DEVICE Record record_of(const Source<S>& from, int64_t image, int offset_group, int tap, int64_t position) {
  if (position >= from.shape.positions()) return {{-1, -1, -1, -1}, {0, 0, 0, 0}};
  const Sample<float> sample = from.sample(image, offset_group, tap, position);
  const FourCorners<float> w = bilinear_weights(sample.cell);
  Record record = {{}, {w.v00 * sample.mask, w.v01 * sample.mask, w.v10 * sample.mask, w.v11 * sample.mask}};
  if (!sample.cell.inside()) record = {{}, {0, 0, 0, 0}};  // an infinite mask times 0 would not be 0
  corners_of(from, sample.cell, record.at);
  return record;
}

struct Corners {
  Vector vector[4];
};

template <class S>
DCN_DEVICE Corners load_corners(const S* channels, const int (&at)[4], bool valid) {
  Corners corners;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    corners.vector[k] = valid && at[k] >= 0 ? simt::read_vector(channels + at[k]) : zero_vector();
  }
  return corners;
}

// Four corners of several channels, interpolated; a corner that was not read counts as 0.
template <class S>
DCN_DEVICE Vector blend(const Corners& corners, const float (&weight)[4]) {
  float sum[PER_VECTOR<S>] = {};
  S part[PER_VECTOR<S>];
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    memcpy(part, &corners.vector[k], sizeof(Vector));
#pragma unroll
    for (int e = 0; e < PER_VECTOR<S>; ++e) sum[e] += weight[k] * static_cast<float>(part[e]);
  }
#pragma unroll
  for (int e = 0; e < PER_VECTOR<S>; ++e) part[e] = static_cast<S>(sum[e]);
  Vector result;
  memcpy(&result, part, sizeof(Vector));
  return result;
}

}  // namespace dcn::cuda::fused
