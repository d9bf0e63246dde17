// Token ids from an accelerator: loads an image, has it checked, and says the ids that follow those of a prompt.
// Exit code: 0; 1 for any error, in one line; 130 after an interrupt, when the run has been ended.

#include <csignal>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "lutllm_vrt.hpp"

static const char USAGE[] =
    "usage: lutllm_host BDF VBIN IMAGE TOKENS ID... [--stop ID...]\n"
    "  BDF     the board, as SLASH has it\n"
    "  VBIN    what slashkit linked\n"
    "  IMAGE   mem/image.bin of lutllm compile\n"
    "  TOKENS  to make at most\n"
    "  ID      of the prompt; after --stop: that ends the text\n";

// SIGINT is kept waiting, for the runtime's waits would not go on after it, and looked for between two of them.
struct Interrupted {};

static bool interrupted() {
  sigset_t waiting;
  return sigpending(&waiting) == 0 && sigismember(&waiting, SIGINT);
}

static uint64_t number(const std::string &text, uint64_t most) {
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos && text.size() < 19;
  if (!digits || std::stoull(text) > most)
    throw lutllm::DeviceError("expected a number up to " + std::to_string(most) + ", got '" + text + "'");
  return std::stoull(text);
}

static int run(const std::vector<std::string> &given) {
  std::ifstream file(given[2], std::ios::binary);
  const std::vector<uint8_t> image{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || file.bad())
    throw lutllm::DeviceError("expected an image that can be read, got '" + given[2] + "'");
  const uint32_t tokens = number(given[3], INT32_MAX);
  lutllm::Driver::Tokens prompt, stops;
  bool stop = false;
  for (size_t i = 4; i < given.size(); ++i) {
    if (given[i] == "--stop") stop = true;
    else (stop ? stops : prompt).push_back(number(given[i], INT32_MAX));
  }
  lutllm::VrtDevice device(given[0], given[1], image.size());
  lutllm::Driver driver(device);
  driver.load(image, device.base());
  size_t shown = 0;
  const auto show = [&](const lutllm::Driver::Tokens &made) {
    for (; shown < made.size(); ++shown) std::printf("%u\n", made[shown]);
    std::fflush(stdout);
    if (interrupted()) throw Interrupted{};
  };
  const auto outcome = driver.generate(prompt, tokens, stops, 0, show);
  show(outcome.tokens);
  outcome.check();
  return 0;
}

int main(int count, char **words) {
  if (count < 6) return std::fputs(USAGE, stderr), 1;
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGINT);
  sigprocmask(SIG_BLOCK, &one, nullptr);
  try {
    return run({words + 1, words + count});
  } catch (const Interrupted &) {  // the device, closed by now, has ended the run
    return 130;
  } catch (const std::exception &error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
