// Greedy non-maximum suppression on the device, for nms and proposal; the arithmetic is core/nms.h, as on the CPU.
// Candidates lie best first. Two steps: every pair is compared at once into bits, then one block walks the candidates.
#pragma once

#include <array>
#include <utility>

#include "core/nms.h"
#include "cuda/arguments.h"
#include "cuda/launch.h"

namespace dcn::cuda {

constexpr int64_t UNUSABLE = INT64_MAX;  // key of what must not be kept; sorts behind everything

// descending_key as a signed number that sorts the same way: scores descending, NaN last but before UNUSABLE.
DCN_HD int64_t sort_key(double score, bool usable) {
  if (!usable) return UNUSABLE;
  const uint64_t key = descending_key(score) ^ (uint64_t(1) << 63);
  const int64_t signed_key = static_cast<int64_t>(key);
  return signed_key == UNUSABLE ? UNUSABLE - 1 : signed_key;
}

// One image's (or call's) candidates, per image `all` apart; the first `count` of `order` take part.
template <class T>
struct Ranking {
  const T* boxes;        // [images, all, 4] x1, y1, x2, y2
  const int64_t* keys;   // [images, all] sorted
  const int64_t* order;  // [images, all] rows of boxes in the order of keys
  int64_t all, count;
  T threshold;

  DCN_MEMBER int64_t words() const { return (count + 63) / 64; }
};

// bits[image, i, w]: which of candidates 64 w .. 64 w + 63 that come after i overlap it too much. Words left of i's own
// are not written, and not read.
template <class T>
__global__ void __launch_bounds__(64) mark_overlaps(Ranking<T> r, uint64_t* bits) {
  const int64_t words = r.words();
  const int64_t row_word = blockIdx.y, column_word = blockIdx.x, image = blockIdx.z;
  if (column_word < row_word) return;  // the whole block together
  __shared__ T others[64][5];
  const T* boxes = r.boxes + image * r.all * 4;
  const int64_t* order = r.order + image * r.all;
  const int me = static_cast<int>(threadIdx.x);
  const int64_t column = column_word * 64 + me, row = row_word * 64 + me;
  if (column < r.count) {
    const T* b = boxes + order[column] * 4;
    for (int k = 0; k < 4; ++k) others[me][k] = b[k];
    others[me][4] = box_area(b[0], b[1], b[2], b[3]);
  }
  __syncthreads();
  if (row >= r.count) return;
  const T* b = boxes + order[row] * 4;
  const T x1 = b[0], y1 = b[1], x2 = b[2], y2 = b[3], area = box_area(x1, y1, x2, y2);
  const int64_t left = r.count - column_word * 64;
  const int end = static_cast<int>(left < 64 ? left : 64);
  uint64_t found = 0;
  for (int j = column_word == row_word ? me + 1 : 0; j < end; ++j) {
    const T* o = others[j];
    if (overlaps(x1, y1, x2, y2, area, o[0], o[1], o[2], o[3], o[4], r.threshold)) found |= uint64_t(1) << j;
  }
  bits[(image * r.count + row) * words + column_word] = found;
}

// One block per image: keeps candidates in order until `limit`. removed: [images, words], zero-filled.
// keep: [images, limit], positions in `order`; kept: [images].
template <class T>
__global__ void keep_greedily(Ranking<T> r, const uint64_t* bits, uint64_t* removed, int64_t limit, int64_t* keep,
                              int64_t* kept) {
  __shared__ uint64_t kept_here;
  __shared__ bool done;
  const int64_t words = r.words(), image = blockIdx.x;
  const uint64_t* rows = bits + image * r.count * words;
  const int64_t* keys = r.keys + image * r.all;
  removed += image * words;
  keep += image * limit;
  int64_t total_kept = 0;  // thread 0's
  for (int64_t w = 0; w < words; ++w) {
    if (threadIdx.x == 0) {
      uint64_t out = removed[w], here = 0;
      bool end = false;
      for (int j = 0; j < 64 && !end; ++j) {
        const int64_t i = w * 64 + j;
        if (i >= r.count || total_kept == limit || keys[i] == UNUSABLE) {
          end = true;
        } else if (!(out >> j & 1)) {
          keep[total_kept++] = i;
          here |= uint64_t(1) << j;
          out |= rows[i * words + w];
        }
      }
      kept_here = here;
      done = end;
    }
    __syncthreads();
    if (done) break;  // the same for all threads
    for (int64_t v = w + 1 + threadIdx.x; v < words; v += blockDim.x) {
      uint64_t out = removed[v];
      for (uint64_t left = kept_here; left != 0; left &= left - 1) {
        out |= rows[(w * 64 + __ffsll(static_cast<long long>(left)) - 1) * words + v];
      }
      removed[v] = out;
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) kept[image] = total_kept;
}

// Sorts [images, all] keys ascending, equal ones by index; keys and order.
inline std::pair<Tensor, Tensor> sorted(const Tensor& keys) {
  std::array<StableIValue, 4> stack{torch::stable::detail::from(keys),
                                    torch::stable::detail::from(std::optional<bool>(true)),
                                    torch::stable::detail::from(int64_t(-1)), torch::stable::detail::from(false)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::sort", "stable", stack.data(), TORCH_ABI_VERSION));
  return {torch::stable::detail::to<Tensor>(stack[0]), torch::stable::detail::to<Tensor>(stack[1])};
}

struct Kept {
  Tensor rows;   // [images, limit] int64, positions in the order; only the first `count` of each are written
  Tensor count;  // [images] int64
};

template <class T>
Kept suppress(const Launch& launch, const Ranking<T>& r, int64_t images, int64_t limit, const Tensor& like) {
  Kept result = {uninitialised(like, Sizes{images, limit}, ScalarType::Long),
                 torch::stable::new_zeros(like, Sizes{images}, ScalarType::Long)};
  if (images == 0 || r.count == 0 || limit == 0) return result;
  const int64_t words = r.words();
  if (words > 65535 || images > 65535) {
    throw std::runtime_error("nms: expected at most 4194240 boxes and 65535 images at a time");
  }
  Tensor bits = uninitialised(like, Sizes{images, r.count, words}, ScalarType::Long);
  Tensor removed = torch::stable::new_zeros(like, Sizes{images, words}, ScalarType::Long);
  const dim3 pairs(static_cast<unsigned>(words), static_cast<unsigned>(words), static_cast<unsigned>(images));
  mark_overlaps<T><<<pairs, 64, 0, launch.stream()>>>(r, write<uint64_t>(bits));
  check(cudaGetLastError(), "nms, overlaps");
  keep_greedily<T><<<static_cast<unsigned>(images), 256, 0, launch.stream()>>>(
      r, read<uint64_t>(bits), write<uint64_t>(removed), limit, write<int64_t>(result.rows),
      write<int64_t>(result.count));
  check(cudaGetLastError(), "nms, greedy walk");
  return result;
}

}  // namespace dcn::cuda
