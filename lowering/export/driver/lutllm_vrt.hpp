// An accelerator that SLASH's runtime VRT programs, as the Device of a driver. C++17, over lutllm_driver.hpp and libvrt.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <vrt/buffer.hpp>

#include "lutllm_driver.hpp"

#ifndef LUTLLM_HBM_REGION
#define LUTLLM_HBM_REGION (512ull << 20)  // of HBM, in which a buffer of VRT lies whole
#endif

namespace lutllm {

// Memory is HBM from its beginning on, which every port that slash.cfg names reaches: whole regions side by side, so
// that an image may be larger than one buffer. What the host wrote is kept, to be written again after a reset.
class VrtDevice : public Device {
 public:
  // Program the board at `bdf` with `vbin`, or start the simulation in it, and take `bytes` of its memory, an image's.
  VrtDevice(const std::string &bdf, const std::string &vbin, uint64_t bytes)
      : device_(bdf, vbin), kernel_(device_.getKernel("@KERNEL@")), bytes_(bytes) {
    if (device_.getPlatform() == vrt::Platform::EMULATION)
      throw DeviceError("expected '" + vbin + "' of hardware or of a simulation, got an emulation, which runs no RTL");
    if (!bytes_ || bytes_ > REGIONS * REGION)
      throw DeviceError("expected 1.." + std::to_string(REGIONS * REGION) + " bytes of HBM, got " +
                        std::to_string(bytes));
    for (uint64_t at = 0; at < bytes_; at += REGION) {
      const uint64_t size = std::min(REGION, bytes_ - at);
      try {
        buffers_.emplace_back(device_, size, vrt::MemoryRangeType::HBM, uint8_t(at / REGION));
      } catch (const std::bad_alloc &) {
        throw DeviceError("expected " + std::to_string(size) + " bytes in region " + std::to_string(at / REGION) +
                          " of HBM, got none; end what else uses them");
      }
      if (buffers_.back().getPhysAddr() != base() + at)
        throw DeviceError("expected regions of HBM side by side, got address " +
                          std::to_string(buffers_.back().getPhysAddr()) + " for byte " + std::to_string(at) +
                          " of memory at " + std::to_string(base()));
    }
    clock();
  }

  // A run that was left ends here: memory must not go on working for an accelerator that nobody looks at.
  ~VrtDevice() override {
    try {
      quiet();
    } catch (...) {  // the board is gone, which was said when it was found
    }
  }
  VrtDevice(const VrtDevice &) = delete;
  VrtDevice &operator=(const VrtDevice &) = delete;

  uint64_t base() const { return buffers_.front().getPhysAddr(); }

  uint32_t read_register(uint32_t offset) override { return kernel_.read(offset); }
  void write_register(uint32_t offset, uint32_t value) override { kernel_.write(offset, value); }

  // All of memory at once, as an image fills it: a buffer of VRT goes over whole, with what the host last wrote.
  void write_memory(uint64_t address, const uint8_t *data, size_t size) override {
    if (address != base() || size != bytes_)
      throw DeviceError("expected all " + std::to_string(bytes_) + " bytes of memory at " + std::to_string(base()) +
                        " to be written, got " + std::to_string(size) + " at " + std::to_string(address));
    for (auto &buffer : buffers_) {
      const uint64_t part = std::min(REGION, bytes_ - (buffer.getPhysAddr() - base()));
      std::memcpy(buffer.get(), data + (buffer.getPhysAddr() - base()), part);
      buffer.sync(vrt::SyncType::HOST_TO_DEVICE);
    }
  }

  // VRT connects no interrupt: what would raise it is looked at, for ten milliseconds.
  bool wait() override {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
    while (!(read_register(ISR) & (ENDED | STUCK))) {
      if (std::chrono::steady_clock::now() >= end) return false;
      pause();
    }
    return true;
  }
  void pause() override { std::this_thread::sleep_for(std::chrono::microseconds(50)); }

  // VRT has no reset of a kernel: the board is programmed again, when the bus is quiet if it gets so.
  void reset() override {
    if (device_.getPlatform() != vrt::Platform::HARDWARE)
      throw DeviceError("expected a board to reset, got a simulation of SLASH, which cannot be; start it again");
    quiet();
    device_.getHandle()->programDevice();
    clock();
    std::this_thread::sleep_for(std::chrono::seconds(1));  // as VRT waits after it
    for (auto &buffer : buffers_) buffer.sync(vrt::SyncType::HOST_TO_DEVICE);
  }

 private:
  // What was linked is right up to its own frequency; VRT leaves the clock as the last user had it.
  void clock() { device_.setFrequency(std::min(device_.getMaxFrequency(), FASTEST)); }

  void quiet() {
    if (read_register(STATUS) & STATUS_BUSY) write_register(CONTROL, ABORT);
    for (unsigned left = 1u << 10; left && read_register(STATUS) & STATUS_BUSY; --left) pause();
  }

  static constexpr uint64_t REGION = LUTLLM_HBM_REGION, REGIONS = 64;
  static constexpr uint64_t FASTEST = 333333333;  // Hz, of a clock that VRT sets

  vrt::Device device_;
  vrt::Kernel kernel_;
  uint64_t bytes_;
  std::vector<vrt::Buffer<uint8_t>> buffers_;
};

}  // namespace lutllm
