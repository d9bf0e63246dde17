// Runs the accelerator on a memory image, and compares the tokens it makes, and what it writes, with those expected.
// Exit code: 0 all equal, 1 anything else. `design.h` and `expected.txt` are generated, the rest is the same for all.

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "design.h"
#include "lutllm_driver.hpp"

static const char USAGE[] =
    "usage: [--image FILE] [--expected FILE] [--latency CYCLES] [--stalls 0..255] [--seed N] [--watchdog CYCLES]\n"
    "  --image     memory image; the accelerator sees it at address 0\n"
    "  --expected  model, prompt and expected tokens\n"
    "  --latency   of the memory, in cycles, at least 1 (as design.h says)\n"
    "  --stalls    chance in 256 that an AXI channel pauses in a cycle (0)\n"
    "  --seed      of the stalls, and of what registers and memories hold before the reset (1)\n"
    "  --watchdog  cycles without any movement after which the run fails\n"
    "  --verify    1: have the driver load the image and the accelerator check it before the run (0)\n"
    "  --abort     cycles after which a first run is ended, and the accelerator reset (0: no such run)\n";

struct Options {
  std::string image = "../mem/image.bin", expected = "expected.txt";
  Timing timing{design::LATENCY};
  uint64_t seed = 1, watchdog = design::WATCHDOG + 16, verify = 0, abort = 0;
};

// Bytes of a file at an address.
struct Region {
  uint64_t address;
  std::string path;
};

// What `expected.txt` holds: lines of a word and numbers. `memory`: bytes, where the image is shorter. `length`: tokens
// of a sequence without a prompt. `inputs` are put into memory before the run, `outputs` compared with it after.
struct Expected {
  uint64_t model = 0, memory = 0, length = 0;
  std::vector<Region> inputs, outputs;
  std::vector<uint32_t> stops, prompt, tokens;
};

// The design, its clocks and its memory. Ports may have a clock of their own; cycles are of the other one.
class Bench {
 public:
  Bench(VerilatedContext &context, Memory &memory)
      : top(&context, "top"), ports_(design::axi_ports(top, memory)) {}
  ~Bench() { top.final(); }

  void reset() {
    top.ap_rst_n = 0;
    for (int i = 0; i < 4; ++i) cycle();
    top.ap_rst_n = 1;
  }
  void settle() {
    for (; bus_next_ < next_; bus_edge()) offer();
    if (bus_next_ == next_) offer();
    top.ap_clk = 0;
    top.eval();
  }
  void edge() {
    const bool both = bus_next_ == next_;
    if (both) take();
    const bool moved = moved_ || top.events != 0;
    moved_ = false;
    if (top.ap_rst_n && uint64_t{top.events} >> design::PICK_DONE & 1) picks.push_back(cycles);
    idle = moved ? 0 : idle + 1;
    top.ap_clk = 1;
    if (both) design::bus_clock(top, 1);
    top.eval();
    ++cycles;
    next_ += design::PERIOD;
  }
  void cycle() {
    settle();
    edge();
  }
  std::string standing() const {
    std::string text;
    for (const auto &port : ports_) text += port->standing();
    return text;
  }

  design::Top top;
  uint64_t cycles = 0, idle = 0;  // idle: cycles since something moved
  std::vector<uint64_t> picks;    // when parts of the LM head were done

 private:
  void offer() {
    for (auto &port : ports_) port->offer(bus_cycles_);
    design::bus_clock(top, 0);
  }
  void take() {
    if (top.ap_rst_n)
      for (auto &port : ports_) moved_ |= port->take(bus_cycles_);
    ++bus_cycles_;
    bus_next_ += design::BUS_PERIOD;
  }
  void bus_edge() {
    top.eval();
    take();
    design::bus_clock(top, 1);
    top.eval();
  }

  std::vector<std::unique_ptr<AxiPort>> ports_;
  uint64_t next_ = 0, bus_next_ = 0, bus_cycles_ = 0;  // when edges are, in the unit of both periods
  bool moved_ = false;
};

// The design as a driver's device: registers on AXI4-Lite, one access at a time. Says now and then how far it is.
class BenchDevice : public lutllm::Device {
 public:
  BenchDevice(Bench &bench, Memory &memory, uint64_t watchdog)
      : bench_(bench), top_(bench.top), memory_(memory), watchdog_(watchdog) {
    top_.s_axi_control_awvalid = top_.s_axi_control_wvalid = top_.s_axi_control_arvalid = 0;
    top_.s_axi_control_bready = top_.s_axi_control_rready = 0;
  }

  void write_register(uint32_t address, uint32_t value) override {
    bench_.idle = 0;
    top_.s_axi_control_awaddr = address;
    top_.s_axi_control_wdata = value;
    top_.s_axi_control_wstrb = 15;
    top_.s_axi_control_awvalid = top_.s_axi_control_wvalid = top_.s_axi_control_bready = 1;
    for (int i = 0; i < PATIENCE; ++i) {
      bench_.settle();
      const bool address_taken = top_.s_axi_control_awready, data_taken = top_.s_axi_control_wready;
      const bool answered = top_.s_axi_control_bvalid, refused = top_.s_axi_control_bresp != 0;
      bench_.edge();
      if (address_taken) top_.s_axi_control_awvalid = 0;
      if (data_taken) top_.s_axi_control_wvalid = 0;
      if (answered) return finish(top_.s_axi_control_bready, refused, "write", address);
    }
    fail("no answer to a write of register " + std::to_string(address));
  }

  uint32_t read_register(uint32_t address) override {
    top_.s_axi_control_araddr = address;
    top_.s_axi_control_arvalid = top_.s_axi_control_rready = 1;
    for (int i = 0; i < PATIENCE; ++i) {
      bench_.settle();
      const bool address_taken = top_.s_axi_control_arready;
      const bool answered = top_.s_axi_control_rvalid, refused = top_.s_axi_control_rresp != 0;
      const uint32_t data = top_.s_axi_control_rdata;
      bench_.edge();
      if (address_taken) top_.s_axi_control_arvalid = 0;
      if (!answered) continue;
      finish(top_.s_axi_control_rready, refused, "read", address);
      return data;
    }
    fail("no answer to a read of register " + std::to_string(address));
  }

  void write_memory(uint64_t address, const uint8_t *data, size_t size) override {
    std::copy_n(data, size, memory_.bytes.begin() + address);
  }

  // For 4096 cycles, or until the interrupt.
  bool wait() override {
    const auto now = std::chrono::steady_clock::now();
    if (now - said_ >= std::chrono::seconds(10)) {
      said_ = now;
      const double seconds = std::chrono::duration<double>(now - begin_).count();
      std::fprintf(stderr, "%" PRIu64 " cycles, %.0f cycles/s\n", bench_.cycles, bench_.cycles / seconds);
    }
    for (int i = 0; i < 4096; ++i) {
      bench_.settle();
      if (top_.irq) break;
      bench_.edge();
      if (bench_.idle >= watchdog_)
        fail("watchdog: nothing moved for " + std::to_string(bench_.idle) + " cycles\n" + bench_.standing());
    }
    ended = bench_.cycles;
    return top_.irq;
  }
  void pause() override { bench_.cycle(); }
  void reset() override { bench_.reset(); }

  uint64_t ended = 0;  // when the last wait did

 private:
  static constexpr int PATIENCE = 1000;  // cycles

  void finish(CData &ready, bool refused, const std::string &what, uint32_t address) {
    ready = 0;
    if (refused) fail(what + " of register " + std::to_string(address) + " was refused");
  }

  Bench &bench_;
  design::Top &top_;
  Memory &memory_;
  uint64_t watchdog_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point said_ = begin_;
};

static uint64_t number(const std::string &text, uint64_t most) {
  size_t end = 0;
  uint64_t value = 0;
  try {
    value = std::stoull(text, &end, 0);
  } catch (const std::logic_error &) {
    end = 0;
  }
  if (end == 0 || end != text.size() || value > most)
    fail("expected a number up to " + std::to_string(most) + ", got '" + text + "'");
  return value;
}

static Options read_options(const std::vector<std::string> &arguments) {
  Options options;
  for (size_t i = 0; i < arguments.size(); i += 2) {
    const std::string &name = arguments[i];
    if (i + 1 == arguments.size()) fail("expected a value after '" + name + "'\n" + USAGE);
    const std::string &value = arguments[i + 1];
    if (name == "--image") options.image = value;
    else if (name == "--expected") options.expected = value;
    else if (name == "--latency") options.timing.latency = std::max<uint64_t>(1, number(value, 1000000));
    else if (name == "--stalls") options.timing.stalls = number(value, 255);
    else if (name == "--seed") options.seed = number(value, UINT32_MAX);
    else if (name == "--watchdog") options.watchdog = number(value, UINT64_MAX);
    else if (name == "--verify") options.verify = number(value, 1);
    else if (name == "--abort") options.abort = number(value, UINT32_MAX);
    else fail("unknown option '" + name + "'\n" + USAGE);
  }
  return options;
}

static std::vector<uint8_t> read_bytes(const std::string &path, const std::string &what) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("cannot read " + what + " '" + path + "'");
  return {std::istreambuf_iterator<char>(file), {}};
}

// The memory before the run: the image, and the inputs in it.
static std::vector<uint8_t> read_memory(const std::string &image, const Expected &expected) {
  std::vector<uint8_t> bytes = read_bytes(image, "the memory image");
  bytes.resize(std::max<uint64_t>(bytes.size(), expected.memory));
  for (const Region &input : expected.inputs) {
    const std::vector<uint8_t> given = read_bytes(input.path, "the input");
    if (given.size() > bytes.size() || input.address > bytes.size() - given.size())
      fail("'" + input.path + "' does not fit the memory");
    std::copy(given.begin(), given.end(), bytes.begin() + input.address);
  }
  return bytes;
}

static Expected read_expected(const std::string &path) {
  std::ifstream file(path);
  if (!file) fail("cannot read '" + path + "'");
  Expected expected;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name, word;
    words >> name;
    if (name == "input" || name == "output") {
      words >> word;
      Region region{number(word, UINT64_MAX), ""};
      if (!(words >> region.path)) fail("'" + path + "': expected an address and a file after " + name);
      region.path = path.substr(0, path.rfind('/') + 1) + region.path;  // beside `expected.txt`
      (name == "input" ? expected.inputs : expected.outputs).push_back(region);
    }
    while (words >> word) {
      const uint64_t value = number(word, UINT64_MAX);
      if (name == "model") expected.model = value;
      else if (name == "memory") expected.memory = value;
      else if (name == "length") expected.length = value;
      else if (name == "stop") expected.stops.push_back(value);
      else if (name == "prompt") expected.prompt.push_back(value);
      else if (name == "expected") expected.tokens.push_back(value);
      else fail("'" + path + "': unknown line '" + name + "'");
    }
  }
  return expected;
}

static std::string engines(uint32_t mask) {
  std::string names;
  for (size_t i = 0; i < std::size(design::ENGINES); ++i)
    if (mask >> i & 1) names += std::string(names.empty() ? "" : ", ") + design::ENGINES[i];
  return names.empty() ? "none" : names;
}

// Prints each token; returns how many are as expected.
static size_t compare(const std::vector<uint32_t> &made, const std::vector<uint32_t> &expected, const Bench &bench,
                      uint64_t started) {
  const size_t parts = made.empty() ? 0 : bench.picks.size() / made.size();  // picks of a token
  size_t equal = 0;
  std::printf("%6s %8s %8s %12s\n", "", "token", "expected", "cycle");
  for (size_t i = 0; i < std::max(made.size(), expected.size()); ++i) {
    const bool same = i < made.size() && i < expected.size() && made[i] == expected[i];
    const std::string token = i < made.size() ? std::to_string(made[i]) : "-";
    const std::string golden = i < expected.size() ? std::to_string(expected[i]) : "-";
    const uint64_t cycle = i < made.size() && parts ? bench.picks[(i + 1) * parts - 1] - started : 0;
    std::printf("%6zu %8s %8s %12" PRIu64 "%s\n", i, token.c_str(), golden.c_str(), cycle, same ? "" : "  WRONG");
    equal += same;
  }
  return equal;
}

// Says of each output how much of it differs; returns whether nothing does.
static bool compare(const std::vector<uint8_t> &memory, const std::vector<Region> &outputs) {
  bool equal = true;
  for (const Region &output : outputs) {
    const std::vector<uint8_t> wanted = read_bytes(output.path, "the output");
    size_t wrong = 0, first = 0;
    for (size_t i = wanted.size(); i-- > 0;)
      if (output.address + i >= memory.size() || memory[output.address + i] != wanted[i]) ++wrong, first = i;
    std::printf("%s: %zu of %zu bytes as expected", output.path.c_str(), wanted.size() - wrong, wanted.size());
    if (wrong) std::printf(", the first that differs at 0x%" PRIx64 "  WRONG", output.address + first);
    std::printf("\n");
    equal &= wrong == 0;
  }
  return equal;
}

static int run(const std::vector<std::string> &arguments) {
  const Options options = read_options(arguments);
  const Expected expected = read_expected(options.expected);
  Timing timing = options.timing;  // in cycles of the ports
  timing.latency = (timing.latency * design::PERIOD + design::BUS_PERIOD - 1) / design::BUS_PERIOD;
  Memory memory{read_memory(options.image, expected), timing, Random(options.seed)};
  VerilatedContext context;
  context.randReset(2);
  context.randSeed(options.seed);
  Bench bench(context, memory);
  bench.reset();
  BenchDevice device(bench, memory, options.watchdog);
  lutllm::Driver driver(device);
  if (options.verify) {
    std::vector<uint8_t> image(memory.bytes.size());
    image.swap(memory.bytes);
    driver.load(image);
  }
  driver.use(0, expected.model);
  if (options.abort) {
    driver.prompt(expected.prompt);
    driver.begin(expected.prompt.size(), expected.tokens.size());
    for (uint64_t i = 0; i < options.abort; ++i) bench.cycle();
    std::printf("stopped: error '%s'\n", driver.abort(expected.prompt.size()).error_name().c_str());
    driver.reset();
  }
  lutllm::Outcome found;
  if (expected.prompt.empty()) {
    driver.begin(expected.length, 0);
    found = driver.wait(expected.length);
  } else {
    found = driver.generate(expected.prompt, expected.tokens.size(), expected.stops);
  }
  if (found.busy)
    fail("watchdog: memory does not answer\n" + bench.standing() + "engines with a task: " + engines(found.stalled));
  const std::vector<uint32_t> &made = found.tokens;
  const uint64_t cycles = found.cycles;
  const size_t equal = compare(made, expected.tokens, bench, device.ended - cycles);
  std::printf("%" PRIu64 " cycles, %.0f cycles per token\n", cycles, made.empty() ? 0.0 : double(cycles) / made.size());
  if (found.error) std::printf("the accelerator reports error '%s'\n", found.error_name().c_str());
  const bool written = compare(memory.bytes, expected.outputs);
  const bool pass = !found.error && written && equal == expected.tokens.size() && equal == made.size();
  std::printf("%s: %zu of %zu tokens as expected\n", pass ? "PASS" : "FAIL", equal, expected.tokens.size());
  return pass ? 0 : 1;
}

int main(int count, char **values) {
  const std::vector<std::string> arguments(values + 1, values + count);
  if (arguments.size() == 1 && (arguments[0] == "--help" || arguments[0] == "-h")) {
    std::fputs(USAGE, stdout);
    return 0;
  }
  try {
    return run(arguments);
  } catch (const std::exception &error) {
    std::printf("FAIL: %s\n", error.what());
    return 1;
  }
}
