// Reading tests/vectors/*.json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "simdjson.h"

namespace check {

namespace json = simdjson::dom;

inline json::array array_of(json::object item, std::string_view key) {
    return item[key].get_array().value();
}

template <class T>
T value_or(json::object item, std::string_view key, T fallback) {
    T value;
    return item[key].get(value) ? fallback : value;
}

inline std::string unhex(std::string_view text) {
    std::string bytes;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
        bytes += static_cast<char>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16));
    }
    return bytes;
}

inline std::string bytes_of(json::object step) {
    if (json::element hex; !step["send_hex"].get(hex)) return unhex(hex.get_string().value());
    if (json::element text; !step["send"].get(text)) return std::string(text.get_string().value());
    std::string bytes;
    for (json::array part : array_of(step, "send_parts")) {
        const auto times = part.at(1).get_int64().value();
        for (std::int64_t i = 0; i < times; ++i) bytes += part.at(0).get_string().value();
    }
    return bytes;
}

}  // namespace check
