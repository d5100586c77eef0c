// The three networks of a bundle in frame-in form (docs/frame-in.md) on OpenVINO. On TensorRT or ONNX
// Runtime the calls differ; inputs, outputs and everything that is computed here stay the same.
#pragma once

#include <openvino/openvino.hpp>

#include <stdexcept>
#include <string>
#include <vector>

#include "tracker.hpp"

namespace flowtrack {

// A frame as decoders give it: rows of BGR pixels without padding.
struct Frame {
  std::vector<std::uint8_t> pixels;
  std::size_t height, width;

  ov::Tensor tensor() const {
    return {ov::element::u8, {height, width, 3}, const_cast<std::uint8_t*>(pixels.data())};
  }
};

class Networks {
 public:
  explicit Networks(const std::string& bundle)
      : detector_(Request(bundle, "detector")),
        pose_(Request(bundle, "pose")),
        flow_(Request(bundle, "flow")) {
    const std::string size = Fact(Model(bundle, "pose"), "flowtrack.size");  // such as 192x256
    const std::size_t cross = size.find('x');
    crop_width_ = std::stod(size.substr(0, cross));
    crop_height_ = std::stod(size.substr(cross + 1));
  }

  // Boxes of the people in a frame, the best first (line 7 of Algorithm 1).
  std::vector<Box> Detect(const Frame& frame) {
    detector_.set_tensor("frame", frame.tensor());
    detector_.infer();
    const ov::Tensor boxes = detector_.get_tensor("boxes"), scores = detector_.get_tensor("scores");
    std::vector<Box> found;
    const float* corner = boxes.data<const float>();
    for (std::size_t i = 0; i < scores.get_size(); ++i, corner += 4) {
      found.push_back({corner[0], corner[1], corner[2], corner[3], scores.data<const float>()[i]});
    }
    return found;
  }

  // The joints of the person in each box (line 10); those outside the picture are missing.
  std::vector<Person> Poses(const Frame& frame, const std::vector<Box>& boxes) {
    std::vector<Person> people(boxes.size());
    if (boxes.empty()) return people;
    ov::Tensor affine(ov::element::f32, {boxes.size(), 2, 3});
    for (std::size_t i = 0; i < boxes.size(); ++i) Crop(boxes[i], affine.data<float>() + 6 * i);
    pose_.set_tensor("frame", frame.tensor());
    pose_.set_tensor("affine", affine);
    pose_.infer();
    const ov::Tensor keypoints = pose_.get_tensor("keypoints");
    const float* joint = keypoints.data<const float>();
    for (std::size_t i = 0; i < boxes.size(); ++i) {
      people[i].box = boxes[i];
      const float* matrix = affine.data<const float>() + 6 * i;
      for (Joint& found : people[i].joints) {
        const float x = (joint[0] - matrix[2]) / matrix[0], y = (joint[1] - matrix[5]) / matrix[4];
        if (x >= -0.5F && x < static_cast<float>(frame.width) - 0.5F && y >= -0.5F &&
            y < static_cast<float>(frame.height) - 0.5F) {
          found = {x, y, joint[2]};
        }
        joint += 3;
      }
    }
    return people;
  }

  // The flow from one frame to the next; it is valid until the next call.
  Flow Between(const Frame& previous, const Frame& current) {
    flow_.set_tensor("previous", previous.tensor());
    flow_.set_tensor("current", current.tensor());
    flow_.infer();
    const ov::Tensor flow = flow_.get_tensor("flow");  // (1, 2, h, w)
    const int height = static_cast<int>(flow.get_shape()[2]);
    const int width = static_cast<int>(flow.get_shape()[3]);
    return {flow.data<const float>(), height, width,
            static_cast<float>(width) / static_cast<float>(current.width),
            static_cast<float>(height) / static_cast<float>(current.height)};
  }

 private:
  static constexpr double kPadding = 1.25;  // `box_padding` of the manifest

  // Crop pixel = matrix @ (x, y, 1): the box, extended to the crop's aspect ratio and enlarged.
  void Crop(const Box& box, float* matrix) const {
    const double width = std::max(box.x2 - box.x1, 1.0F), height = std::max(box.y2 - box.y1, 1.0F);
    const double extended = std::max(width, height * crop_width_ / crop_height_);
    const double scale = crop_width_ / (extended * kPadding);
    const double left = crop_width_ / 2 - scale * (double{box.x1} + box.x2) / 2;
    const double top = crop_height_ / 2 - scale * (double{box.y1} + box.y2) / 2;
    const std::array row{scale, 0.0, left, 0.0, scale, top};
    std::transform(row.begin(), row.end(), matrix, [](double v) { return static_cast<float>(v); });
  }

  std::shared_ptr<ov::Model> Model(const std::string& bundle, const std::string& part) {
    std::shared_ptr<ov::Model> model = core_.read_model(bundle + "/" + part + ".onnx");
    if (Fact(model, "flowtrack.form") != "frame") {
      throw std::runtime_error(bundle + ": " + part + ".onnx takes no whole frames; make such a " +
                               "bundle with `flowtrack export frame-in`");
    }
    if (part == "pose" && Fact(model, "flowtrack.skeleton") != "coco-17") {
      throw std::runtime_error(bundle + ": pose.onnx has other joints than COCO's 17");
    }
    return model;
  }

  ov::InferRequest Request(const std::string& bundle, const std::string& part) {
    const ov::AnyMap options{ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                             ov::hint::inference_precision(ov::element::f32)};
    return core_.compile_model(Model(bundle, part), "CPU", options).create_infer_request();
  }

  // What the file says about itself, empty where it does not.
  static std::string Fact(const std::shared_ptr<ov::Model>& model, const std::string& name) {
    if (!model->has_rt_info("framework", name)) return "";
    return model->get_rt_info<std::string>("framework", name);
  }

  ov::Core core_;
  ov::InferRequest detector_, pose_, flow_;
  double crop_width_ = 0, crop_height_ = 0;
};

}  // namespace flowtrack
