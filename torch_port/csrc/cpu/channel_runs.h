// How the work of a deformable convolution is cut up: runs of channels, tiles of positions.
#pragma once

#include <algorithm>
#include <vector>

#include "cpu/deform_conv_tiles.h"
#include "cpu/workers.h"

namespace dcn::cpu {

// Runs of at most `largest` channels, cut where a weight group or an offset group ends; `largest` is a multiple of
// `multiple`, and so is every run but those that end there.
inline std::vector<ChannelRun> channel_runs(const DeformConvShape& s, int64_t largest, int64_t multiple) {
  std::vector<ChannelRun> runs;
  for (int64_t c = 0; c < s.channels;) {
    const int64_t group = c / s.channels_per_group(), offset_group = c / s.channels_per_offset_group();
    const int64_t left =
        std::min((group + 1) * s.channels_per_group(), (offset_group + 1) * s.channels_per_offset_group()) - c;
    const int64_t count = (left + largest - 1) / largest, even = (left + count - 1) / count;
    runs.push_back({group, offset_group, c, std::min(left, (even + multiple - 1) / multiple * multiple)});
    c += runs.back().channels;
  }
  return runs;
}

// Positions in a tile: at most `largest`, both multiples of `multiple`; as many tiles as threads share evenly.
inline int64_t even_tile(const DeformConvShape& s, int64_t largest, int64_t multiple) {
  const int64_t threads = num_threads(), positions = s.positions();
  const int64_t tiles = s.images * ((positions + largest - 1) / largest);
  const int64_t even = (tiles + threads - 1) / threads * threads, per_image = (even + s.images - 1) / s.images;
  const int64_t tile = (positions + per_image - 1) / per_image;
  return std::clamp<int64_t>((tile + multiple - 1) / multiple * multiple, multiple, largest);
}

}  // namespace dcn::cpu
