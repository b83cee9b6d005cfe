// What forward and backward on the matrix unit share: segments of channels, one
// worker's registers, what values can be split.
#pragma once

#include <algorithm>
#include <vector>

#include "cpu/channel_runs.h"
#include "cpu/deform_conv_amx.h"
#include "cpu/pixel_maps.h"

namespace dcn::cpu::amx {

// Channels in runs of at most `largest` (a multiple of 32). Segment::begin
// counts steps of 32 channels before it.
inline std::vector<Segment> segments_of(const DeformConvShape& s, int64_t largest) {
  std::vector<Segment> segments;
  int64_t begin = 0;
  for (const ChannelRun& run : channel_runs(s, largest, 32)) {
    segments.push_back({run, steps32(run.channels), begin});
    begin += segments.back().steps;
  }
  return segments;
}

inline int64_t steps_of(const std::vector<Segment>& segments) { return segments.back().begin + segments.back().steps; }

// Few channels or outputs in a group would multiply mostly zeros; nor do their
// few products average out.
inline bool pays(const DeformConvShape& s, const std::vector<Segment>& segments) {
  return steps_of(segments) * 32 <= 2 * s.channels && s.out_channels_per_group() >= 8;
}

// Scratch of one worker together with the matrix unit's registers.
struct Worker {
  Worker() { begin_tiles(); }
  ~Worker() { end_tiles(); }
  Worker(const Worker&) = delete;
};

// Bits of the largest magnitude.
inline uint32_t largest_of(const float* values, int64_t count) {
  constexpr int64_t SLICE = 1 << 15;
  std::atomic<uint32_t> all{0};
  for_slices((count + SLICE - 1) / SLICE, 1, [&](int64_t begin, int64_t end) {
    uint32_t own = 0;
    grow_largest(values + begin * SLICE, std::min(end * SLICE, count) - begin * SLICE, &own);
    uint32_t before = all;
    while (before < own && !all.compare_exchange_weak(before, own)) {
    }
  });
  return all;
}

// Whether numbers up to these magnitudes, and their product, are far enough
// from overflow and from denormals to be split: each is 0 or its binary
// exponent lies in [-60, 60]. NaN and Inf do not.
inline bool splittable(std::initializer_list<uint32_t> magnitudes) {
  constexpr uint32_t SMALLEST = (127u - 60) << 23, LARGEST = (127u + 60) << 23;
  for (const uint32_t bits : magnitudes) {
    if (bits != 0 && (bits < SMALLEST || bits > LARGEST)) return false;
  }
  return true;
}

}  // namespace dcn::cpu::amx
