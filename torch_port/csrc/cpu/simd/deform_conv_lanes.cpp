// The fused kernels of deform_conv2d for one instruction set: sample a tile of
// positions, multiply it while it is in cache. Cells and weights are core's.
#include "cpu/deform_conv_tiles.h"
#include "cpu/simd/locate.h"
#include "cpu/simd/multiply.h"
#include "cpu/simd/transpose.h"

namespace dcn::cpu::DCN_ISA {
namespace {

// One register, or one element at the ragged end: the same text serves both.
template <class T>
struct One {
  static constexpr int LANES = 1;
  T v;
  DCN_INLINE One load(const T* p) { return {*p}; }
  DCN_INLINE One all(T x) { return {x}; }
  DCN_INLINE One fma(One a, One b, One c) { return {a.v * b.v + c.v}; }
  DCN_INLINE One mul(One a, One b) { return {a.v * b.v}; }
  DCN_INLINE One sub(One a, One b) { return {a.v - b.v}; }
  DCN_INLINE T sum(One a) { return a.v; }
  DCN_INLINE void store(T* p, One a) { *p = a.v; }
};

template <class V, class T>
DCN_INLINE V weighed(const T* const (&corner)[4], const V (&weight)[4], int64_t c) {
  V value = V::mul(weight[0], V::load(corner[0] + c));
  value = V::fma(weight[1], V::load(corner[1] + c), value);
  value = V::fma(weight[2], V::load(corner[2] + c), value);
  return V::fma(weight[3], V::load(corner[3] + c), value);
}

template <class V, class T>
DCN_INLINE int64_t sample_channels(const T* const (&corner)[4], const T (&weight)[4], int64_t begin, int64_t end,
                                   T* column) {
  const V w[4] = {V::all(weight[0]), V::all(weight[1]), V::all(weight[2]), V::all(weight[3])};
  for (; begin + V::LANES <= end; begin += V::LANES) V::store(column + begin, weighed(corner, w, begin));
  return begin;
}

// Samples whose corners are asked for ahead of their use: the map lies beyond the second-level cache, and only we know
// where it is read next.
constexpr int64_t AHEAD = 4;

// columns[t][0, channels) for one offset group's channels. CHANNELS: how many, for loops without a counter; 0: any
// number.
template <int64_t CHANNELS, class T>
DCN_INLINE void sample_run(const T* map, int64_t pitch, const SampleRecords<T>* records, int64_t count,
                           int64_t any_channels, T* columns, int64_t column_pitch) {
  const int64_t channels = CHANNELS > 0 ? CHANNELS : any_channels;
  const int64_t lines = channels * static_cast<int64_t>(sizeof(T)) / LINE_BYTES;
  for (int64_t t = 0; t < count; ++t) {
    const SampleRecord<T> r = SampleRecords<T>::get(records, t);
    const T* const corner[4] = {map + r.at[0] * pitch, map + r.at[1] * pitch, map + r.at[2] * pitch,
                                map + r.at[3] * pitch};
    if (t + AHEAD < count) {
      for (int k = 0; k < 4; ++k) {
        prefetch_lines<3>(map + SampleRecords<T>::pixel(records, t + AHEAD, k) * pitch, 0, lines);
      }
    }
    T* column = columns + t * column_pitch;
    const int64_t done = sample_channels<Vec<T>>(corner, r.weight, 0, channels, column);
    sample_channels<One<T>>(corner, r.weight, done, channels, column);
  }
}

template <class T>
void sample(const T* map, int64_t pitch, const SampleRecords<T>* records, int64_t count, int64_t channels, T* columns,
            int64_t column_pitch) {
  if (channels == 64) return sample_run<64>(map, pitch, records, count, channels, columns, column_pitch);
  if (channels == 128) return sample_run<128>(map, pitch, records, count, channels, columns, column_pitch);
  sample_run<0>(map, pitch, records, count, channels, columns, column_pitch);
}

// rows x columns (padded) += A * B, panel by panel; B is packed by panels or a
// plain matrix of row length ldb.
template <class T>
void multiply_all(int64_t rows, int64_t columns, int64_t depth, LeftMatrix<T> a, const T* b, bool packed, T* c,
                  int64_t ldc) {
  constexpr int64_t PANEL = Vec<T>::LANES * Vec<T>::PER_PANEL;
  for (int64_t begin = 0; begin < columns; begin += PANEL) {
    const int64_t width = columns - begin < PANEL ? columns - begin : PANEL;
    const T* right = packed ? b + begin * depth : b + begin;
    multiply(rows, width, depth, a, right, packed ? width : columns, c + begin, ldc);
  }
}

template <class T>
void start_sums(const ForwardJob<T>& job, const ForwardSpace<T>& space, int64_t count, int64_t padded) {
  const DeformConvShape& s = job.shape;
  const int64_t outputs = s.out_channels_per_group();
  for (int64_t t = 0; t < count; ++t) {
    T* sums = space.sums + t * space.sum_pitch;
    for (int64_t o = 0; o < s.groups * padded; ++o) sums[o] = T(0);
    for (int64_t group = 0; job.bias && group < s.groups; ++group) {
      for (int64_t o = 0; o < outputs; ++o) sums[group * padded + o] = job.bias[group * outputs + o];
    }
  }
}

template <class T>
void write_sums(const ForwardJob<T>& job, const ForwardSpace<T>& space, int64_t image, int64_t first, int64_t count,
                int64_t padded) {
  const DeformConvShape& s = job.shape;
  const int64_t outputs = s.out_channels_per_group(), positions = s.positions();
  for (int64_t group = 0; group < s.groups; ++group) {
    const T* sums = space.sums + group * padded;
    if (job.channels_last) {
      T* output = job.output + (image * positions + first) * s.out_channels + group * outputs;
      for (int64_t t = 0; t < count; ++t) {
        for (int64_t o = 0; o < outputs; ++o) output[t * s.out_channels + o] = sums[t * space.sum_pitch + o];
      }
    } else {
      transpose_any(count, outputs, sums, space.sum_pitch,
                    job.output + (image * s.out_channels + group * outputs) * positions + first, positions);
    }
  }
}

// Samples `taps` taps of a run from `tap` on, side by side in a row of columns.
template <class T>
void sample_taps(const ForwardJob<T>& job, const ForwardSpace<T>& space, const ChannelRun& run, int64_t tap,
                 int64_t taps, int64_t image, int64_t first, int64_t count) {
  const T* map = job.input.data + image * job.input.pixels * job.input.pitch + run.channel;
  for (int64_t i = 0; i < taps; ++i) {
    locate(job.border, job.shape, job.offset, job.mask, image, run.offset_group, tap + i, first, count, true,
           space.records, static_cast<SlopeRecords<T>*>(nullptr));
    sample(map, job.input.pitch, space.records, count, run.channels, space.columns + i * run.channels,
           space.column_pitch);
  }
}

template <class T>
void forward(const ForwardJob<T>& job, const ForwardSpace<T>& space, int64_t image, int64_t first) {
  const DeformConvShape& s = job.shape;
  const int64_t count = s.positions() - first < job.tile ? s.positions() - first : job.tile, taps = s.taps();
  const int64_t padded = panel_layout(T()).padded(s.out_channels_per_group());
  start_sums(job, space, count, padded);
  for (int64_t i = 0; i < job.num_runs; ++i) {
    const ChannelRun& run = job.runs[i];
    const int64_t at_once = taps_at_once(run);
    for (int64_t tap = 0; tap < taps; tap += at_once) {
      const int64_t several = taps - tap < at_once ? taps - tap : at_once;
      sample_taps(job, space, run, tap, several, image, first, count);
      multiply_all(count, padded, several * run.channels, LeftMatrix<T>{space.columns, space.column_pitch, 1},
                   job.weight + (run.channel * taps + tap * run.channels) * padded, true,
                   space.sums + run.weight_group * padded, space.sum_pitch);
    }
  }
  write_sums(job, space, image, first, count, padded);
}

// One position of the backward pass: what it reads and where it adds.
template <class T>
struct BackwardPosition {
  const T* corner[4];
  T* target[4];
  T weight[4], masked[4];  // masked: times the mask
  T mask;
  const T* grad;  // of the masked sample
  T* column;      // the masked sample
};

template <class V>
struct SlopeSums {
  V corner[4];  // sum over channels of grad * corner
};

// One pass over the channels: loads the corners once, writes the sample, sums
// grad * corner, adds to the corners.
template <class V, bool COLUMN, bool SLOPES, bool INPUT, class T>
DCN_INLINE int64_t pass(const BackwardPosition<T>& p, int64_t begin, int64_t end, SlopeSums<V>& sums) {
  const V masked[4] = {V::all(p.masked[0]), V::all(p.masked[1]), V::all(p.masked[2]), V::all(p.masked[3])};
  for (; begin + V::LANES <= end; begin += V::LANES) {
    if constexpr (COLUMN) V::store(p.column + begin, weighed(p.corner, masked, begin));
    if constexpr (SLOPES || INPUT) {
      const V grad = V::load(p.grad + begin);
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        if constexpr (SLOPES) sums.corner[k] = V::fma(grad, V::load(p.corner[k] + begin), sums.corner[k]);
        if constexpr (INPUT) V::store(p.target[k] + begin, V::fma(masked[k], grad, V::load(p.target[k] + begin)));
      }
    }
  }
  return begin;
}

// (y, x, mask) gradients out of the sums; linear, so taken before the lanes are
// added up.
template <class V, class T>
DCN_INLINE void add_slopes(const SlopeSums<V>& sums, const BackwardPosition<T>& p, const SampleSlopes<T>& at, T* y,
                           T* x, T* mask) {
  const V* v = sums.corner;
  const V right = V::all(at.x), left = V::all(T(1) - at.x), lower = V::all(at.y), upper = V::all(T(1) - at.y);
  *y += V::sum(V::fma(V::sub(v[3], v[1]), right, V::mul(V::sub(v[2], v[0]), left))) * at.mask;
  *x += V::sum(V::fma(V::sub(v[3], v[2]), lower, V::mul(V::sub(v[1], v[0]), upper))) * at.mask;
  V value = V::mul(V::all(p.weight[0]), v[0]);
#pragma GCC unroll 4
  for (int k = 1; k < 4; ++k) value = V::fma(V::all(p.weight[k]), v[k], value);
  *mask += V::sum(value);
}

// CHANNELS: the unit's, for loops without a counter; 0: any number.
template <int64_t CHANNELS, bool COLUMN, bool SLOPES, bool INPUT, class T>
DCN_INLINE void pass_tile(const BackwardUnit& unit, const BackwardSpace<T>& space, const T* map, int64_t pitch,
                          T* grad_map, int64_t grad_pitch, int64_t count, T* sums, int64_t positions) {
  const int64_t channels = CHANNELS > 0 ? CHANNELS : unit.channels;
  for (int64_t t = 0; t < count; ++t) {
    const SampleRecord<T> r = SampleRecords<T>::get(space.records, t);
    const SampleSlopes<T> at = SlopeRecords<T>::get(space.slopes, t);
    if (t + AHEAD < count) {
      const int64_t lines = channels * static_cast<int64_t>(sizeof(T)) / LINE_BYTES;
      for (int k = 0; k < 4; ++k) {
        const int64_t ahead = SampleRecords<T>::pixel(space.records, t + AHEAD, k);
        prefetch_lines<3>(map + ahead * pitch, 0, lines);
        if constexpr (INPUT) prefetch_lines<3>(grad_map + ahead * grad_pitch, 0, lines);
      }
    }
    BackwardPosition<T> p = {};
    p.grad = space.column_grads + t * unit.padded;
    p.column = space.columns + t * unit.padded;
    if (!at.inside) {  // adds nothing, whatever comes from above
      for (int64_t c = 0; COLUMN && c < channels; ++c) p.column[c] = T(0);
      continue;
    }
    for (int k = 0; k < 4; ++k) {
      p.corner[k] = map + r.at[k] * pitch;
      p.target[k] = INPUT ? grad_map + r.at[k] * grad_pitch : nullptr;
      p.weight[k] = r.weight[k];
      p.masked[k] = r.weight[k] * at.mask;
    }
    SlopeSums<Vec<T>> wide;
    SlopeSums<One<T>> narrow;
    for (int k = 0; k < 4; ++k) {
      wide.corner[k] = Vec<T>::all(T(0));
      narrow.corner[k] = One<T>::all(T(0));
    }
    const int64_t done = pass<Vec<T>, COLUMN, SLOPES, INPUT>(p, 0, channels, wide);
    pass<One<T>, COLUMN, SLOPES, INPUT>(p, done, channels, narrow);
    if constexpr (SLOPES) {
      T y = 0, x = 0, mask = 0;
      add_slopes(wide, p, at, &y, &x, &mask);
      if (done < channels) add_slopes(narrow, p, at, &y, &x, &mask);
      sums[t] = y;
      sums[positions + t] = x;
      sums[2 * positions + t] = mask;
    }
  }
}

template <bool COLUMN, bool SLOPES, bool INPUT, class T>
void backward_tile(const BackwardUnit& unit, const BackwardSpace<T>& space, const T* map, int64_t pitch, T* grad_map,
                   int64_t grad_pitch, int64_t count, T* sums, int64_t positions) {
  constexpr int64_t USUAL = 256 / sizeof(T);  // channels in a unit
  if constexpr (COLUMN && SLOPES && INPUT) {
    if (unit.channels == USUAL) {
      return pass_tile<USUAL, COLUMN, SLOPES, INPUT>(unit, space, map, pitch, grad_map, grad_pitch, count, sums,
                                                     positions);
    }
  }
  pass_tile<0, COLUMN, SLOPES, INPUT>(unit, space, map, pitch, grad_map, grad_pitch, count, sums, positions);
}

template <class T>
using TilePass = void (*)(const BackwardUnit&, const BackwardSpace<T>&, const T*, int64_t, T*, int64_t, int64_t, T*,
                          int64_t);

template <class T>
TilePass<T> chosen_pass(bool column, bool slopes, bool input) {
  if (column) {
    if (slopes) return input ? backward_tile<true, true, true, T> : backward_tile<true, true, false, T>;
    return input ? backward_tile<true, false, true, T> : backward_tile<true, false, false, T>;
  }
  if (slopes) return input ? backward_tile<false, true, true, T> : backward_tile<false, true, false, T>;
  return backward_tile<false, false, true, T>;
}

template <class T>
void backward(const BackwardJob<T>& job, const BackwardUnit& unit, const BackwardSpace<T>& space,
              const BackwardTarget<T>& target) {
  const DeformConvShape& s = job.shape;
  const int64_t positions = s.positions(), outputs = s.out_channels_per_group();
  const bool need_slopes = job.want_slopes || job.want_mask;
  const TilePass<T> run = chosen_pass<T>(job.want_weight, need_slopes, job.want_input);
  for (int64_t tap = unit.first_tap; tap < unit.last_tap; ++tap) {
    const T* weight = target.weight + tap * outputs * unit.padded;
    for (int64_t image = 0; image < s.images; ++image) {
      const T* map = job.input.data + image * job.input.pixels * job.input.pitch + unit.channel;
      T* grad_map = job.want_input ? target.grad_input.data +
                                         image * target.grad_input.pixels * target.grad_input.pitch + unit.channel
                                   : nullptr;
      T* sums = need_slopes ? target.sums + (image * s.taps() + tap) * 3 * positions : nullptr;
      for (int64_t first = 0; first < positions; first += job.tile) {
        const int64_t count = positions - first < job.tile ? positions - first : job.tile;
        const T* grad =
            job.grad.data + (image * job.grad.pixels + first) * job.grad.pitch + unit.weight_group * outputs;
        locate(job.border, s, job.offset, job.mask, image, unit.offset_group, tap, first, count, false, space.records,
               space.slopes);
        if (need_slopes || job.want_input) {
          for (int64_t i = 0; i < count * unit.padded; ++i) space.column_grads[i] = T(0);
          multiply_all(count, unit.padded, outputs, LeftMatrix<T>{grad, job.grad.pitch, 1}, weight, false,
                       space.column_grads, unit.padded);
        }
        run(unit, space, map, job.input.pitch, grad_map, target.grad_input.pitch, count, sums ? sums + first : nullptr,
            positions);
        if (job.want_weight) {
          multiply_all(outputs, unit.padded, count, LeftMatrix<T>{grad, 1, job.grad.pitch}, space.columns, false,
                       target.grad_weight + tap * outputs * unit.padded, unit.padded);
        }
      }
    }
  }
}

}  // namespace

#define DCN_DEFINE(T)                                                                                       \
  PanelLayout panel_layout(T) { return {Vec<T>::LANES, Vec<T>::LANES * Vec<T>::PER_PANEL}; }                \
  void forward_tile(const ForwardJob<T>& job, const ForwardSpace<T>& space, int64_t image, int64_t first) { \
    forward(job, space, image, first);                                                                      \
  }                                                                                                         \
  void backward_unit(const BackwardJob<T>& job, const BackwardUnit& unit, const BackwardSpace<T>& space,    \
                     const BackwardTarget<T>& target) {                                                     \
    backward(job, unit, space, target);                                                                     \
  }
DCN_DEFINE(float)
DCN_DEFINE(double)

}  // namespace dcn::cpu::DCN_ISA
