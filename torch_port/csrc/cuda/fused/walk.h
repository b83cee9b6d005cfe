// How the fused kernels cut a deformable convolution up: runs of channels, chunks of runs, steps along the sum, splits.
// Host and device.
#pragma once

#include "core/deform_conv.h"

namespace dcn::cuda::fused {

// Consecutive channels that share a weight group and an offset group.
struct Run {
  int begin, end, group, offset_group;
};

DCN_HD Run run_at(const DeformConvShape& s, int channel) {
  const int in_group = static_cast<int>(s.channels_per_group()),
            shared = static_cast<int>(s.channels_per_offset_group());
  const int group = channel / in_group, offset_group = channel / shared;
  const int group_end = (group + 1) * in_group, shared_end = (offset_group + 1) * shared;
  return {channel, group_end < shared_end ? group_end : shared_end, group, offset_group};
}

// The part of a run that starts at `channel`, at most `most` channels.
DCN_HD Run piece_at(const DeformConvShape& s, int channel, int most) {
  Run run = run_at(s, channel);
  if (run.end > channel + most) run.end = channel + most;
  return run;
}

// How many such pieces all channels [begin, end) make, and the piece of a number.
DCN_HD int count_pieces(const DeformConvShape& s, int begin, int end, int most) {
  int count = 0;
  for (int channel = begin; channel < end; ++count) channel = piece_at(s, channel, most).end;
  return count;
}
DCN_HD Run piece_number(const DeformConvShape& s, int begin, int number, int most) {
  Run piece = piece_at(s, begin, most);
  for (; number > 0; --number) piece = piece_at(s, piece.end, most);
  return piece;
}

// One step of the forward sum: a tap and a chunk of channels. run_end, group_end: where the step's run and weight group
// end.
struct Step {
  int tap, channel, run_end, group_end, offset_group;

  DCN_MEMBER int count(int chunk) const { return run_end - channel < chunk ? run_end - channel : chunk; }
  DCN_MEMBER bool shares_samples(const Step& o) const { return tap == o.tap && offset_group == o.offset_group; }
};

DCN_HD Step first_step(const DeformConvShape& s, int group, int tap) {
  const int in_group = static_cast<int>(s.channels_per_group());
  const Run run = run_at(s, group * in_group);
  return {tap, run.begin, run.end, (group + 1) * in_group, run.offset_group};
}

// All chunks of a tap, then the next tap. Divides only at the end of a run: this stands in the innermost loop.
DCN_HD Step step_after(const DeformConvShape& s, int group, int chunk, Step step) {
  step.channel += step.count(chunk);
  if (step.channel == step.group_end) return first_step(s, group, step.tap + 1);
  if (step.channel == step.run_end) {
    const Run run = run_at(s, step.channel);
    step.run_end = run.end;
    step.offset_group = run.offset_group;
  }
  return step;
}

DCN_HD int steps_per_tap(const DeformConvShape& s, int group, int chunk) {
  const int in_group = static_cast<int>(s.channels_per_group());
  return count_pieces(s, group * in_group, (group + 1) * in_group, chunk);
}
DCN_HD Step step_number(const DeformConvShape& s, int group, int chunk, int number) {
  const int per_tap = steps_per_tap(s, group, chunk);
  Step step = first_step(s, group, number / per_tap);
  for (int i = number % per_tap; i > 0; --i) step = step_after(s, group, chunk, step);
  return step;
}

// The steps [begin, end) that part `part` of `parts` does.
struct Share {
  int begin, end;
};
DCN_HD Share share_of(int steps, int part, int parts) {
  return {static_cast<int>(int64_t(steps) * part / parts), static_cast<int>(int64_t(steps) * (part + 1) / parts)};
}

// Time of a sum of `steps` steps split into `parts` parts, in steps, where `slots` blocks run at a time. A part costs
// about 20 steps more: its float32 sums go to memory and come back (an estimate for an H200, tensor cores at full
// speed).
inline int64_t split_cost(int64_t tiles, int64_t steps, int64_t slots, int64_t parts) {
  constexpr int64_t OVERHEAD = 20;
  const int64_t waves = (tiles * parts + slots - 1) / slots;
  return waves * ((steps + parts - 1) / parts + (parts > 1 ? OVERHEAD : 0));
}

// The fewest parts (at most `most`: each takes memory) that come within a tenth of the best time.
inline int best_split(int64_t tiles, int64_t steps, int64_t slots, int64_t most) {
  most = most < steps ? most : steps;
  int64_t least = INT64_MAX;
  for (int64_t parts = 1; parts <= most; ++parts) {
    const int64_t cost = split_cost(tiles, steps, slots, parts);
    least = cost < least ? cost : least;
  }
  int parts = 1;
  while (parts < most && split_cost(tiles, steps, slots, parts) * 10 > least * 11) ++parts;
  return parts;
}

}  // namespace dcn::cuda::fused
