// Algorithm 1 of "Simple Baselines for Human Pose Estimation and Tracking" (Xiao et al. 2018), lines
// 8 to 13, looking back one frame: row b5 of the paper's Table 5, `flowtrack track --preset b5`.
// Standard C++ only: whatever runs the networks can call it.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

namespace flowtrack {

constexpr int kJoints = 17;  // of COCO

// How far annotators of each joint disagree, relative to the person's size (cocodataset/cocoapi).
constexpr std::array<float, kJoints> kSigmas{0.026F, 0.025F, 0.025F, 0.035F, 0.035F, 0.079F,
                                             0.079F, 0.072F, 0.072F, 0.062F, 0.062F, 0.107F,
                                             0.107F, 0.087F, 0.087F, 0.089F, 0.089F};

struct Options {
  float box_threshold = 0.5F;    // boxes scored below are dropped, detected and propagated alike
  float joint_threshold = 0.4F;  // joints scored below are missing
  float nms_iou = 0.5F;          // overlap above which two boxes are one person
  float min_similarity = 0.1F;   // OKS below which a person is never linked to a track
  float box_growth = 0.15F;      // of the box around propagated joints, in total length
};

// A box in frame pixels.
struct Box {
  float x1 = 0, y1 = 0, x2 = 0, y2 = 0, score = 0;
};

// A joint in frame pixels; missing where x is no number.
struct Joint {
  float x = std::numeric_limits<float>::quiet_NaN(), y = x, score = 0;
  bool there() const { return std::isfinite(x) && std::isfinite(y); }
};

struct Person {
  std::int64_t id = -1;
  Box box;
  std::array<Joint, kJoints> joints;
  bool seen() const {
    return std::any_of(joints.begin(), joints.end(), [](const Joint& j) { return j.there(); });
  }
  // The score of the box times the mean score of the joints that are there.
  float score() const {
    float sum = 0;
    int count = 0;
    for (const Joint& joint : joints) {
      sum += joint.there() ? joint.score : 0;
      count += joint.there();
    }
    return count ? box.score * sum / static_cast<float>(count) : 0;
  }
};

// Optical flow from the frame before to this one: (2, height, width) in frame pixels.
struct Flow {
  const float* uv;
  int height, width;
  float cells_per_x, cells_per_y;  // grid cells per frame pixel
};

inline float Overlap(const Box& a, const Box& b) {
  const float width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  const float height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  if (!(width > 0 && height > 0)) return 0;
  const float shared = width * height;
  return shared / ((a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - shared);
}

// Greedy non-maximum suppression of boxes that are sorted, the best first.
inline std::vector<Box> Unified(const std::vector<Box>& boxes, float iou) {
  std::vector<Box> kept;
  for (const Box& box : boxes) {
    const auto covers = [&](const Box& other) { return Overlap(other, box) > iou; };
    if (std::none_of(kept.begin(), kept.end(), covers)) kept.push_back(box);
  }
  return kept;
}

// The flow at a place of the frame before, between cells bilinear, beyond the border as there.
inline std::array<float, 2> FlowAt(const Flow& flow, float x, float y) {
  const float gx =
      std::clamp((x + 0.5F) * flow.cells_per_x - 0.5F, 0.0F, static_cast<float>(flow.width - 1));
  const float gy =
      std::clamp((y + 0.5F) * flow.cells_per_y - 0.5F, 0.0F, static_cast<float>(flow.height - 1));
  const int x0 = static_cast<int>(gx), y0 = static_cast<int>(gy);
  const int x1 = std::min(x0 + 1, flow.width - 1), y1 = std::min(y0 + 1, flow.height - 1);
  const float fx = gx - static_cast<float>(x0), fy = gy - static_cast<float>(y0);
  std::array<float, 2> found{};
  for (int axis = 0; axis < 2; ++axis) {
    const float* plane = flow.uv + static_cast<std::ptrdiff_t>(axis) * flow.height * flow.width;
    const float* top = plane + static_cast<std::ptrdiff_t>(y0) * flow.width;
    const float* bottom = plane + static_cast<std::ptrdiff_t>(y1) * flow.width;
    found[axis] = (top[x0] * (1 - fx) + top[x1] * fx) * (1 - fy) +
                  (bottom[x0] * (1 - fx) + bottom[x1] * fx) * fy;
  }
  return found;
}

// Object keypoint similarity: `truth` says how large the person is and which joints count.
inline float Similarity(const Person& truth, const Person& other) {
  const float area = std::max((truth.box.x2 - truth.box.x1) * (truth.box.y2 - truth.box.y1), 1.0F);
  float sum = 0;
  int count = 0;
  for (int k = 0; k < kJoints; ++k) {
    const Joint &a = truth.joints[k], &b = other.joints[k];
    if (!a.there()) continue;
    ++count;
    if (!b.there()) continue;
    const float dx = a.x - b.x, dy = a.y - b.y;
    sum += std::exp(-(dx * dx + dy * dy) / (8 * kSigmas[k] * kSigmas[k] * area));
  }
  return count ? sum / static_cast<float>(count) : 0;
}

// Follows the people of one video. For every frame: Advance (not for the first), Propose, Assign.
class Tracker {
 public:
  explicit Tracker(const Options& options) : options_(options) {}

  // Move the joints that are remembered to this frame.
  void Advance(const Flow& flow) {
    for (Person& person : remembered_) {
      for (Joint& joint : person.joints) {
        if (!joint.there()) continue;
        const auto [dx, dy] = FlowAt(flow, joint.x, joint.y);
        joint.x += dx;
        joint.y += dy;
      }
    }
  }

  // Detections, sorted, unified with boxes around the joints that the flow brought (lines 8, 9).
  std::vector<Box> Propose(const std::vector<Box>& detections) const {
    std::vector<Box> boxes;
    for (const Box& box : detections) {
      if (box.score >= options_.box_threshold) boxes.push_back(box);
    }
    std::vector<Box> propagated;
    for (const Person& person : remembered_) {
      const Box box = Around(person);
      if (box.score >= options_.box_threshold && box.x2 > box.x1 && box.y2 > box.y1) {
        propagated.push_back(box);
      }
    }
    std::stable_sort(propagated.begin(), propagated.end(),
                     [](const Box& a, const Box& b) { return a.score > b.score; });
    boxes.insert(boxes.end(), propagated.begin(), propagated.end());  // what was seen comes first
    return Unified(boxes, options_.nms_iou);
  }

  // Give everybody an id (lines 11 to 13); who has no joint is left out, the others come by id.
  std::vector<Person> Assign(std::vector<Person> people) {
    for (Person& person : people) {
      for (Joint& joint : person.joints) {
        if (joint.score < options_.joint_threshold) joint = Joint{};
      }
    }
    people.erase(std::remove_if(people.begin(), people.end(),
                                [](const Person& person) { return !person.seen(); }),
                 people.end());
    Link(people);
    std::vector<Person*> newcomers;
    for (Person& person : people) {
      if (person.id < 0) newcomers.push_back(&person);
    }
    std::stable_sort(newcomers.begin(), newcomers.end(), [](const Person* a, const Person* b) {
      return Quality(*a) > Quality(*b);
    });
    for (Person* person : newcomers) person->id = next_id_++;
    remembered_ = people;
    std::sort(people.begin(), people.end(),
              [](const Person& a, const Person& b) { return a.id < b.id; });
    return people;
  }

 private:
  // The sum of the scores of somebody's joints: rewards sure and complete poses.
  static float Quality(const Person& person) {
    return std::accumulate(person.joints.begin(), person.joints.end(), 0.0F,
                           [](float sum, const Joint& joint) { return sum + joint.score; });
  }

  // The box around somebody's joints, scored by their mean.
  Box Around(const Person& person) const {
    constexpr float kFar = std::numeric_limits<float>::infinity();
    Box box{kFar, kFar, -kFar, -kFar, 0};
    int count = 0;
    for (const Joint& joint : person.joints) {
      if (!joint.there()) continue;
      box.x1 = std::min(box.x1, joint.x);
      box.y1 = std::min(box.y1, joint.y);
      box.x2 = std::max(box.x2, joint.x);
      box.y2 = std::max(box.y2, joint.y);
      box.score += joint.score;
      ++count;
    }
    if (count == 0) return {};
    const float dx = (box.x2 - box.x1) * options_.box_growth / 2;
    const float dy = (box.y2 - box.y1) * options_.box_growth / 2;
    return {box.x1 - dx, box.y1 - dy, box.x2 + dx, box.y2 + dy,
            box.score / static_cast<float>(count)};
  }

  // Link the most similar pair, then the most similar of those that are left, and so on (line 12).
  void Link(std::vector<Person>& people) const {
    std::vector<bool> taken(remembered_.size(), false);
    while (true) {
      float best = options_.min_similarity;
      Person* found = nullptr;
      std::size_t row = 0;
      for (std::size_t i = 0; i < remembered_.size(); ++i) {
        if (taken[i]) continue;
        for (Person& person : people) {
          if (person.id >= 0) continue;
          const float similarity = Similarity(remembered_[i], person);
          if (similarity > best || (similarity == best && !found)) {
            best = similarity;
            found = &person;
            row = i;
          }
        }
      }
      if (!found) return;
      found->id = remembered_[row].id;
      taken[row] = true;
    }
  }

  Options options_;
  std::vector<Person> remembered_;  // of the frame before; their joints moved by `Advance`
  std::int64_t next_id_ = 0;
};

}  // namespace flowtrack
