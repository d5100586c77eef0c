// Track people in raw video from standard input, without Python:
//
//   flowtrack export frame-in --out framed.bundle
//   ffmpeg -i clip.mp4 -f rawvideo -pix_fmt bgr24 - | build/track framed.bundle 640 360
//
// Prints one line of JSON a frame, like `flowtrack track --formats jsonl`.
#include <exception>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>

#include "networks.hpp"
#include "tracker.hpp"

namespace {

constexpr const char* kUsage =
    "usage: track BUNDLE WIDTH HEIGHT [--box-threshold X] [--joint-threshold X] [--nms-iou X]\n"
    "             [--min-similarity X] < frames in BGR, row after row\n";

// Throws unless the whole word is a number, at least `least`.
float Number(const std::string& word, float least) {
  std::size_t end = 0;
  float number = 0;
  try {
    number = std::stof(word, &end);
  } catch (const std::logic_error&) {
  }
  if (word.empty() || end != word.size() || !(number >= least)) {
    throw std::invalid_argument("'" + word + "' is given, expected a number from " +
                                std::to_string(static_cast<int>(least)) + " on");
  }
  return number;
}

// Read the whole frame; false at the end of the video.
bool Read(std::istream& in, flowtrack::Frame& frame) {
  in.read(reinterpret_cast<char*>(frame.pixels.data()),
          static_cast<std::streamsize>(frame.pixels.size()));
  if (in.gcount() != 0 && static_cast<std::size_t>(in.gcount()) != frame.pixels.size()) {
    throw std::runtime_error("the video ends within a frame; are width and height right?");
  }
  return in.gcount() != 0;
}

void Print(std::ostream& out, std::size_t index, const std::vector<flowtrack::Person>& people) {
  out << "{\"frame\": " << index << ", \"people\": [";
  const char* separator = "";
  for (const flowtrack::Person& person : people) {
    const flowtrack::Box& box = person.box;
    out << separator << "{\"id\": " << person.id << ", \"score\": " << person.score()
        << ", \"box\": [" << box.x1 << ", " << box.y1 << ", " << box.x2 << ", " << box.y2
        << "], \"keypoints\": [";
    const char* comma = "";
    for (const flowtrack::Joint& joint : person.joints) {
      out << comma;
      comma = ", ";
      if (joint.there()) {
        out << '[' << joint.x << ", " << joint.y << ", " << joint.score << ']';
      } else {
        out << "null";
      }
    }
    out << "]}";
    separator = ", ";
  }
  out << "]}\n" << std::flush;
}

int Run(const std::vector<std::string>& words) {
  flowtrack::Options options;
  const std::map<std::string, float*> named{{"--box-threshold", &options.box_threshold},
                                            {"--joint-threshold", &options.joint_threshold},
                                            {"--nms-iou", &options.nms_iou},
                                            {"--min-similarity", &options.min_similarity}};
  if (words.size() < 3 || words.size() % 2 == 0) {
    std::cerr << kUsage;
    return 2;
  }
  for (std::size_t i = 3; i < words.size(); i += 2) {
    if (named.count(words[i]) == 0) {
      std::cerr << "unknown option " << words[i] << '\n' << kUsage;
      return 2;
    }
    *named.at(words[i]) = Number(words[i + 1], 0);
  }
  const auto width = static_cast<std::size_t>(Number(words[1], 1));
  const auto height = static_cast<std::size_t>(Number(words[2], 1));
  flowtrack::Frame previous{{}, height, width}, current{{}, height, width};
  previous.pixels.resize(height * width * 3);
  current.pixels.resize(height * width * 3);

  flowtrack::Networks networks(words[0]);
  flowtrack::Tracker tracker(options);
  for (std::size_t index = 0; Read(std::cin, current); ++index) {
    if (index > 0) tracker.Advance(networks.Between(previous, current));
    const std::vector<flowtrack::Box> boxes = tracker.Propose(networks.Detect(current));
    Print(std::cout, index, tracker.Assign(networks.Poses(current, boxes)));
    std::swap(previous, current);
  }
  return 0;
}

}  // namespace

int main(int count, char** words) {
  std::ios::sync_with_stdio(false);
  try {
    return Run({words + 1, words + count});
  } catch (const std::invalid_argument& error) {
    std::cerr << "track: " << error.what() << '\n' << kUsage;
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "track: " << error.what() << '\n';
    return 1;
  }
}
