// Just enough JSON to read the header of a model file.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace huozi {

class Json {
 public:
  static Json parse(const std::string& text) {
    std::size_t at = 0;
    Json value = read(text, at, 0);
    skip(text, at);
    if (at != text.size()) fail(at);
    return value;
  }

  bool has(const std::string& name) const { return members_.count(name) > 0; }
  const Json& operator[](const std::string& name) const {
    const auto found = members_.find(name);
    if (found == members_.end()) throw std::runtime_error("the header lacks " + name);
    return found->second;
  }
  const std::vector<Json>& array() const { return expect('['), items_; }
  const std::string& text() const { return expect('"'), text_; }
  double number() const { return expect('0'), number_; }

 private:
  char kind_ = 'n';  // { [ " 0 t f n
  std::map<std::string, Json> members_;
  std::vector<Json> items_;
  std::string text_;
  double number_ = 0;

  void expect(char kind) const {
    if (kind_ != kind) throw std::runtime_error("the header holds a value of the wrong type");
  }
  [[noreturn]] static void fail(std::size_t at) {
    throw std::runtime_error("the header is no JSON at byte " + std::to_string(at));
  }
  static void skip(const std::string& s, std::size_t& at) {
    while (at < s.size() && (s[at] == ' ' || s[at] == '\n' || s[at] == '\t' || s[at] == '\r')) at++;
  }
  static char next(const std::string& s, std::size_t& at) {
    skip(s, at);
    if (at >= s.size()) fail(at);
    return s[at];
  }

  static Json read(const std::string& s, std::size_t& at, int depth) {
    if (depth > 64) fail(at);
    Json value;
    const char c = next(s, at);
    if (c == '{' || c == '[') {
      value.kind_ = c;
      const char close = c == '{' ? '}' : ']';
      at++;
      if (next(s, at) == close) return at++, value;
      for (;;) {
        if (c == '{') {
          if (next(s, at) != '"') fail(at);
          const std::string name = string(s, at);
          if (next(s, at) != ':') fail(at);
          at++;
          value.members_[name] = read(s, at, depth + 1);
        } else {
          value.items_.push_back(read(s, at, depth + 1));
        }
        const char end = next(s, at);
        at++;
        if (end == close) return value;
        if (end != ',') fail(at);
      }
    }
    if (c == '"') {
      value.kind_ = '"';
      value.text_ = string(s, at);
      return value;
    }
    for (const char* word : {"true", "false", "null", "NaN", "Infinity", "-Infinity"})
      if (s.compare(at, std::char_traits<char>::length(word), word) == 0) {
        value.kind_ = word[0];
        at += std::char_traits<char>::length(word);
        return value;
      }
    std::size_t used = 0;
    try {
      value.number_ = std::stod(s.substr(at, 40), &used);
    } catch (const std::exception&) {
      fail(at);
    }
    value.kind_ = '0';
    at += used;
    return value;
  }

  static std::string string(const std::string& s, std::size_t& at) {
    std::string out;
    for (at++; at < s.size() && s[at] != '"'; at++) {
      if (s[at] != '\\') {
        out += s[at];
        continue;
      }
      if (++at >= s.size()) fail(at);
      switch (s[at]) {
        case 'n': out += '\n'; break;
        case 't': out += '\t'; break;
        case 'r': out += '\r'; break;
        case 'b': out += '\b'; break;
        case 'f': out += '\f'; break;
        case 'u': out += '?', at += 4; break;  // names that matter are plain ASCII
        default: out += s[at];
      }
    }
    if (at >= s.size()) fail(at);
    at++;
    return out;
  }
};

}  // namespace huozi
