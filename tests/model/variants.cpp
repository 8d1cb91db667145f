#include "variants.hpp"

namespace model {
namespace {

const std::string one = "1 reader, 2 reads, 2 swaps";
const std::string many = "1 reader, 1 read, 4 swaps";
const std::string come_and_go = "threads come and go, 2 swaps";
const std::string two_leaders = "2 leaders, 2 turns, 1 read";
const std::string stuck = "reader stuck in a guard, 3 swaps";

std::vector<Variant> barriers() {
    return {
        {"no heavy barrier before the scan", one, [](Algorithm& a) { a.heavy_barrier = false; }},
        {"heavy barrier before the exchange", one,
         [](Algorithm& a) { a.heavy_barrier_before_exchange = true; }},
        {"scan before the heavy barrier", one, [](Algorithm& a) { a.scan_before_barrier = true; }},
        {"record list read before the heavy barrier", come_and_go,
         [](Algorithm& a) { a.list_read_before_barrier = true; }},
        {"no light barrier", one, [](Algorithm& a) { a.light_barrier = false; }},
        {"no light barrier after HELP", many,
         [](Algorithm& a) { a.light_barrier_after_help = false; }},
    };
}

std::vector<Variant> steps() {
    return {
        {"no re-check after posting", one, [](Algorithm& a) { a.recheck = false; }},
        {"posted after the re-check", one, [](Algorithm& a) { a.post_before_recheck = false; }},
        {"freed without a scan", one, [](Algorithm& a) { a.scan = false; }},
        {"slot cleared before the last read", one,
         [](Algorithm& a) { a.clear_after_last_use = false; }},
        {"payload filled after the exchange", one,
         [](Algorithm& a) { a.fill_before_exchange = false; }},
        {"reader takes help by a plain store", many,
         [](Algorithm& a) { a.take_help_by_exchange = false; }},
        {"reader retries instead of asking for help", many,
         [](Algorithm& a) { a.retry_instead_of_help = true; }},
        {"writer ignores HELP", many, [](Algorithm& a) { a.give_help = false; }},
        {"writer helps with the old token", many,
         [](Algorithm& a) { a.give_help_with_old = true; }},
        {"writer takes its failed help for an empty slot", many,
         [](Algorithm& a) { a.keep_slot_taken_meanwhile = false; }},
        {"scan skips records that look unused", come_and_go,
         [](Algorithm& a) { a.skip_inactive_records = true; }},
        {"two writers without a leader", two_leaders, [](Algorithm& a) { a.leadership = false; }},
        {"protected tokens dropped from the list", stuck,
         [](Algorithm& a) { a.keep_protected_tokens_listed = false; }},
    };
}

std::vector<Variant> orders() {
    return {
        {"posting relaxed", one, [](Algorithm& a) { a.order.post = Order::relaxed; }},
        {"re-check relaxed", one, [](Algorithm& a) { a.order.recheck = Order::relaxed; }},
        {"load after HELP relaxed", many, [](Algorithm& a) { a.order.help_load = Order::relaxed; }},
        {"help received relaxed", many, [](Algorithm& a) { a.order.help_taken = Order::relaxed; }},
        {"help given relaxed", many, [](Algorithm& a) { a.order.help_give = Order::relaxed; }},
        {"slot cleared relaxed", one, [](Algorithm& a) { a.order.clear = Order::relaxed; }},
        {"exchange relaxed", one, [](Algorithm& a) { a.order.exchange = Order::relaxed; }},
        {"scan relaxed", one, [](Algorithm& a) { a.order.scan = Order::relaxed; }},
        {"record pushed relaxed", come_and_go,
         [](Algorithm& a) { a.order.list_push = Order::relaxed; }},
        {"record list read relaxed", come_and_go,
         [](Algorithm& a) { a.order.list_read = Order::relaxed; }},
        {"record adopted relaxed", come_and_go,
         [](Algorithm& a) { a.order.adopt = Order::relaxed; }},
        {"record abandoned relaxed", come_and_go,
         [](Algorithm& a) { a.order.abandon = Order::relaxed; }},
        {"leadership taken relaxed", two_leaders,
         [](Algorithm& a) { a.order.lead = Order::relaxed; }},
        {"leadership handed over relaxed", two_leaders,
         [](Algorithm& a) { a.order.hand_over = Order::relaxed; }},
    };
}

std::vector<Variant> fenced() {
    const std::string swaps = one + ", fenced";
    const std::string visits = come_and_go + ", fenced";
    return {
        {"fenced: posting not seq_cst", swaps, [](Algorithm& a) { a.order.post = Order::release; }},
        {"fenced: re-check not seq_cst", swaps,
         [](Algorithm& a) { a.order.recheck = Order::acquire; }},
        {"fenced: load after HELP not seq_cst", many + ", fenced",
         [](Algorithm& a) { a.order.help_load = Order::acquire; }},
        {"fenced: exchange not seq_cst", swaps,
         [](Algorithm& a) { a.order.exchange = Order::acq_rel; }},
        {"fenced: scan not seq_cst", swaps, [](Algorithm& a) { a.order.scan = Order::acquire; }},
        {"fenced: record pushed without seq_cst", visits,
         [](Algorithm& a) { a.order.list_push = Order::release; }},
        {"fenced: record list read without seq_cst", visits,
         [](Algorithm& a) { a.order.list_read = Order::acquire; }},
    };
}

}  // namespace

std::vector<Variant> variants() {
    std::vector<Variant> all;
    for (const auto& group : {barriers(), steps(), orders(), fenced()})
        all.insert(all.end(), group.begin(), group.end());
    return all;
}

}  // namespace model
