// deform_conv2d in plain loops over core's functions, sums in double: the oracle of the fast paths.
#include <torch/csrc/stable/ops.h>

#include <vector>

#include "cpu/deform_conv.h"

namespace dcn::cpu {
namespace {

// One tap of one output position: its cell and its mask.
template <class T>
struct Sample {
  BilinearCell<T> cell;
  T mask;
};

template <class Border, class T>
Sample<T> sample_of(const DeformConvArrays<T>& a, int64_t image, int64_t group, int64_t tap, int64_t position) {
  const DeformConvShape& s = a.shape;
  const int row = static_cast<int>(position / s.out_width), column = static_cast<int>(position % s.out_width);
  const int i = static_cast<int>(tap / s.kernel_w), j = static_cast<int>(tap % s.kernel_w);
  const T* offset = a.offset + offset_index(image, group, tap, position, s.offset_groups, s.taps(), s.positions());
  const T mask =
      a.mask ? a.mask[mask_index(image, group, tap, position, s.offset_groups, s.taps(), s.positions())] : T(1);
  return {deform_conv_cell<Border>(s, row, column, i, j, offset[0], offset[s.positions()]), mask};
}

template <class T>
FourCorners<T> corners_of(const DeformConvArrays<T>& a, int64_t image, int64_t channel, const BilinearCell<T>& cell) {
  const DeformConvShape& s = a.shape;
  return bilinear_corners(a.input + (image * s.channels + channel) * s.height * s.width, cell, s.width, 1);
}

// Gradient of the masked sample (channel, tap) of one position.
template <class T>
double column_gradient(const DeformConvArrays<T>& a, int64_t image, int64_t channel, int64_t tap, int64_t position) {
  const DeformConvShape& s = a.shape;
  const int64_t group = channel / s.channels_per_group(), within = channel % s.channels_per_group();
  double sum = 0;
  for (int64_t o = group * s.out_channels_per_group(); o < (group + 1) * s.out_channels_per_group(); ++o) {
    sum += double(a.weight[(o * s.channels_per_group() + within) * s.taps() + tap]) *
           a.grad[(image * s.out_channels + o) * s.positions() + position];
  }
  return sum;
}

template <class Border, class T>
void forward_position(const DeformConvArrays<T>& a, int64_t image, int64_t position, bool channels_last,
                      std::vector<T>& column) {
  const DeformConvShape& s = a.shape;
  const int64_t taps = s.taps();
  for (int64_t group = 0; group < s.offset_groups; ++group) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      const Sample<T> sample = sample_of<Border>(a, image, group, tap, position);
      const FourCorners<T> weights = bilinear_weights(sample.cell);
      for (int64_t c = 0; c < s.channels_per_offset_group(); ++c) {
        const int64_t channel = group * s.channels_per_offset_group() + c;
        const T value = bilinear_value(corners_of(a, image, channel, sample.cell), weights);
        column[channel * taps + tap] = sample.cell.inside() ? value * sample.mask : T(0);
      }
    }
  }
  const int64_t depth = s.channels_per_group() * taps;
  for (int64_t o = 0; o < s.out_channels; ++o) {
    const T* values = column.data() + o / s.out_channels_per_group() * depth;
    double sum = a.bias ? double(a.bias[o]) : 0;
    for (int64_t k = 0; k < depth; ++k) sum += double(a.weight[o * depth + k]) * values[k];
    const int64_t index = channels_last ? (image * s.positions() + position) * s.out_channels + o
                                        : (image * s.out_channels + o) * s.positions() + position;
    a.output[index] = static_cast<T>(sum);
  }
}

// grad_offset and grad_mask of one position.
template <class Border, class T>
void backward_position(const DeformConvArrays<T>& a, int64_t image, int64_t position) {
  const DeformConvShape& s = a.shape;
  for (int64_t group = 0; group < s.offset_groups; ++group) {
    for (int64_t tap = 0; tap < s.taps(); ++tap) {
      const Sample<T> sample = sample_of<Border>(a, image, group, tap, position);
      SampleGradient<double> sum = {0, 0, 0};
      for (int64_t c = 0; c < s.channels_per_offset_group(); ++c) {
        const int64_t channel = group * s.channels_per_offset_group() + c;
        const T upstream = static_cast<T>(column_gradient(a, image, channel, tap, position));
        const SampleGradient<T> part =
            sample_gradient(corners_of(a, image, channel, sample.cell), sample.cell, sample.mask, upstream);
        sum = {sum.y + part.y, sum.x + part.x, sum.mask + part.mask};
      }
      if (a.grad_offset) {
        T* offset = a.grad_offset + offset_index(image, group, tap, position, s.offset_groups, s.taps(), s.positions());
        offset[0] = static_cast<T>(sum.y);
        offset[s.positions()] = static_cast<T>(sum.x);
      }
      if (a.grad_mask) {
        a.grad_mask[mask_index(image, group, tap, position, s.offset_groups, s.taps(), s.positions())] =
            static_cast<T>(sum.mask);
      }
    }
  }
}

// grad_input's planes and grad_weight's columns of one channel.
template <class Border, class T>
void backward_channel(const DeformConvArrays<T>& a, int64_t channel) {
  const DeformConvShape& s = a.shape;
  const int64_t weight_group = channel / s.channels_per_group(), within = channel % s.channels_per_group();
  const int64_t outputs = s.out_channels_per_group(), plane_size = s.height * s.width;
  std::vector<double> plane(plane_size), weight(outputs * s.taps());
  for (int64_t image = 0; image < s.images; ++image) {
    plane.assign(plane_size, 0);
    for (int64_t unit = 0; unit < s.taps() * s.positions(); ++unit) {
      const int64_t tap = unit / s.positions(), position = unit % s.positions();
      const Sample<T> sample = sample_of<Border>(a, image, channel / s.channels_per_offset_group(), tap, position);
      if (!sample.cell.inside()) continue;
      const FourCorners<T> w = bilinear_weights(sample.cell);
      if (a.grad_weight) {
        const double value = double(bilinear_value(corners_of(a, image, channel, sample.cell), w)) * sample.mask;
        const T* grad = a.grad + (image * s.out_channels + weight_group * outputs) * s.positions() + position;
        for (int64_t o = 0; o < outputs; ++o) weight[o * s.taps() + tap] += value * grad[o * s.positions()];
      }
      if (a.grad_input) {
        const double upstream = column_gradient(a, image, channel, tap, position) * sample.mask;
        const FourCorners<int64_t> at = bilinear_addresses(sample.cell, s.width, 1, -1);
        if (at.v00 >= 0) plane[at.v00] += w.v00 * upstream;
        if (at.v01 >= 0) plane[at.v01] += w.v01 * upstream;
        if (at.v10 >= 0) plane[at.v10] += w.v10 * upstream;
        if (at.v11 >= 0) plane[at.v11] += w.v11 * upstream;
      }
    }
    for (int64_t i = 0; a.grad_input && i < plane_size; ++i) {
      a.grad_input[(image * s.channels + channel) * plane_size + i] = static_cast<T>(plane[i]);
    }
  }
  for (int64_t o = 0; a.grad_weight && o < outputs; ++o) {
    T* target = a.grad_weight + ((weight_group * outputs + o) * s.channels_per_group() + within) * s.taps();
    for (int64_t tap = 0; tap < s.taps(); ++tap) target[tap] = static_cast<T>(weight[o * s.taps() + tap]);
  }
}

}  // namespace

template <class T>
void plain_deform_conv_forward(const DeformConvArrays<T>& a, bool channels_last) {
  const DeformConvShape& s = a.shape;
  with_border(a.border, [&](auto rule) {
    torch::stable::parallel_for(0, s.images * s.positions(), 1, [&](int64_t begin, int64_t end) {
      std::vector<T> column(s.channels * s.taps());
      for (int64_t unit = begin; unit < end; ++unit) {
        forward_position<decltype(rule)>(a, unit / s.positions(), unit % s.positions(), channels_last, column);
      }
    });
  });
}

template <class T>
void plain_deform_conv_backward(const DeformConvArrays<T>& a) {
  const DeformConvShape& s = a.shape;
  with_border(a.border, [&](auto rule) {
    if (a.grad_offset || a.grad_mask) {
      torch::stable::parallel_for(0, s.images * s.positions(), 1, [&](int64_t begin, int64_t end) {
        for (int64_t unit = begin; unit < end; ++unit) {
          backward_position<decltype(rule)>(a, unit / s.positions(), unit % s.positions());
        }
      });
    }
    if (a.grad_input || a.grad_weight) {
      torch::stable::parallel_for(0, s.channels, 1, [&](int64_t begin, int64_t end) {
        for (int64_t channel = begin; channel < end; ++channel) backward_channel<decltype(rule)>(a, channel);
      });
    }
  });
  for (int64_t o = 0; a.grad_bias && o < s.out_channels; ++o) {
    double sum = 0;
    for (int64_t image = 0; image < s.images; ++image) {
      const T* grad = a.grad + (image * s.out_channels + o) * s.positions();
      for (int64_t i = 0; i < s.positions(); ++i) sum += grad[i];
    }
    a.grad_bias[o] = static_cast<T>(sum);
  }
}

template void plain_deform_conv_forward(const DeformConvArrays<float>&, bool);
template void plain_deform_conv_forward(const DeformConvArrays<double>&, bool);
template void plain_deform_conv_backward(const DeformConvArrays<float>&);
template void plain_deform_conv_backward(const DeformConvArrays<double>&);

}  // namespace dcn::cpu
