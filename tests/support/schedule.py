"""What a run leaves to `scripts/soak`, so that it ends well within 20 minutes on two slow processors: `leave_out`.

A test that is made on several versions of the server is made on half of them in one run, by turns; of others with many
cases some are in it, in the order of a checksum of their names, so that no parameter is preferred; and some of the
longest are left out whole, where others of their file show the same of another moment, side or state.
"""

from __future__ import annotations

from collections import Counter
from zlib import crc32

import pytest

from .binaries import KINDS

#: In these files every version is in every run: they are about what the others take for granted.
EVERY_VERSION = ("test_support_servers", "test_support_dataset", "test_support_monitor")

#: Of these files, or tests, one case of so many is in one run, and one at least. What is said of a test goes first.
IN_PART = {
    "test_atomic": 3,
    "test_between_phases": 4,
    "test_changing": 3,
    "test_churn": 2,
    "test_churn_command": 3,
    "test_cluster::test_all_types_go_from_a_server_through_clusters_and_back": 2,
    "test_cluster::test_keys_go_their_way_however_they_are_read_and_written": 2,
    "test_compare": 3,
    "test_compare_cluster": 4,
    "test_conflicts": 4,
    "test_conflicts::test_what_a_dead_worker_has_written_is_no_conflict": 8,
    "test_demo": 4,
    "test_docs::test_a_copy_sends_only_what_is_documented": 3,
    "test_docs::test_every_example_runs": 3,
    "test_docs::test_with_other_options_only_what_is_documented_is_sent_either": 6,
    "test_dry_run": 2,
    "test_elements": 2,
    "test_ends": 2,
    "test_errors::test_each_error_has_its_code_one_line_and_a_hint": 4,
    "test_errors::test_wrong_usage_connects_to_nothing": 3,
    "test_failover": 2,
    "test_filters_model": 3,
    "test_filters_target": 3,
    "test_forbidden_keys": 4,
    "test_large_values": 2,
    "test_live": 2,
    "test_live_busy": 2,
    "test_live_cluster": 2,
    "test_live_cluster_churn": 2,
    "test_live_end": 2,
    "test_live_faults": 6,
    "test_live_feeds": 2,
    "test_live_interleavings": 8,
    "test_live_others": 2,
    "test_live_outcome": 2,
    "test_live_refusals": 2,
    "test_live_removals": 4,
    "test_managed": 2,
    "test_matrix": 40,
    "test_modules": 3,
    "test_moving": 4,
    "test_moving_late": 2,
    "test_mutations": 3,
    "test_new_master": 2,
    "test_opaque_cursors": 8,
    "test_options_copy": 2,
    "test_options_filters": 2,
    "test_options_names": 2,
    "test_options_pace": 3,
    "test_options_verify": 3,
    "test_output": 2,
    "test_payloads::test_strings_arrive_at_an_older_server_though_they_are_few_among_others": 3,
    "test_replicas": 2,
    "test_replicas_changing": 2,
    "test_replicas_live": 2,
    "test_rights": 6,
    "test_rights_live": 3,
    "test_router": 2,
    "test_rules::test_a_key_that_expires_while_it_is_copied_never_becomes_immortal": 2,
    "test_rules_proof": 2,
    "test_same": 2,
    "test_secrets": 3,
    "test_sentinel": 2,
    "test_signals": 2,
    "test_splicing": 2,
    "test_support_clusters": 2,
    "test_support_compare": 2,
    "test_support_faults": 2,
    "test_support_servers::test_a_loading_server_says_so_until_it_is_done": 4,
    "test_suspects": 2,
    "test_synth_servers": 2,
    "test_tls": 2,
    "test_undo": 3,
    "test_undo_left": 3,
    "test_vector_sets": 2,
    "test_weather": 4,
}

#: Tests that are in no run but those of `scripts/soak`.
SOAK_ONLY = {
    "test_adapt": ("more_lanes_are_used_over_a_long_distance",),
    "test_atomic": ("a_transaction_that_meets_a_busy_server_is_made_again",),
    "test_bench": (
        "a_process_that_outlives_its_command_is_counted_and_then_killed",
        "a_smoke_run_copies_by_all_tools_and_between_clusters",
        "a_smoke_run_measures_all_other_parts",
    ),
    "test_bench_live": ("a_live_copy_is_measured_beside_changes_that_nobody_follows",),
    "test_churn": ("collections_stay_bounded_however_long_they_grow",),
    "test_churn_command": ("one_seed_and_as_many_workers_give_the_same_changes_in_the_same_order",),
    "test_cluster": ("a_cluster_that_announces_names_nobody_knows_is_reached_by_a_map",),
    "test_compare": ("a_replica_that_may_be_behind_and_clocks_that_are_apart_are_told",),
    "test_conflicts": ("a_pass_that_begins_again_does_not_meet_its_own_keys",),
    "test_demo": (
        "keys_says_how_many",
        "options_of_the_environment_are_not_those_of_the_writer",
        "the_demo_shows_a_copy_from_start_to_end",
    ),
    "test_ends": ("a_signal_goes_before_what_fails_while_the_rest_is_finished",),
    "test_failover": (
        "a_master_that_changes_places_with_its_replica",
        "keys_that_were_read_and_not_written_are_not_taken_for_done",
    ),
    "test_filters_model": (
        "each_filter_alone_and_each_pair_copies_what_passes",
        "limits_alone_and_with_each_other_and_each_filter_copy_what_passes",
    ),
    "test_forbidden_keys": ("a_key_that_cannot_be_read_for_the_proof_keeps_a_live_copy_from_converging",),
    "test_generate": ("the_same_seed_gives_equal_servers_whatever_the_workers",),
    "test_large_values": ("a_huge_string_is_in_memory_once_as_it_comes_and_once_as_it_goes",),
    "test_live": ("a_large_hash_that_changes_all_the_time_does_not_hold_up_the_others",),
    "test_live_busy": ("a_feed_that_connects_to_a_source_that_is_busy_waits",),
    "test_live_end": (
        "a_key_that_changes_in_its_rest_after_it_was_compared_is_copied_and_compared_again",
        "a_write_whose_event_comes_behind_the_look_that_counts_it_is_copied",
        "an_event_that_was_on_its_way_when_the_user_cut_over_is_no_write_after_it",
        "streams_of_a_database_do_not_wait_for_those_of_another_that_wait_for_them",
    ),
    "test_live_faults": (
        "a_cut_over_that_was_asked_for_is_the_next_pass_s_as_well",
        "a_link_that_stalls_for_seconds",
        "a_signal_ends_it_in_order_while_the_target_stands_still",
        "a_sweep_waits_for_a_target_that_is_out_of_reach",
        "gap_after_gap_is_made_good_while_the_source_is_written_to",
    ),
    "test_live_feeds": (
        "a_signal_ends_the_wait_for_the_last_look",
        "a_vector_set_that_lost_its_last_element_goes_at_the_target",
    ),
    "test_live_outcome": (
        "a_key_that_changes_before_its_range_is_done_is_not_put_aside",
        "differences_of_before_the_last_writes_are_in_no_file",
    ),
    "test_live_removals": (
        "what_others_have_written_stays_also_after_a_verification",
        "what_others_write_while_it_is_verified_outlives_a_sweep",
        "who_watches_and_reads_the_target_writes_nothing",
    ),
    "test_many_moved": (
        "keys_are_looked_up_at_a_source_of_which_many_slots_have_moved",
        "keys_are_removed_at_a_target_of_which_many_slots_have_moved",
    ),
    "test_modules": ("how_a_server_compresses_its_payloads_is_no_difference",),
    "test_moving": (
        "slots_move_between_nodes_that_tell_no_host",
        "slots_that_move_at_the_target",
        "slots_that_move_atomically",
    ),
    "test_moving_late": (
        "a_key_of_the_target_that_goes_to_a_node_that_was_read_already_is_found_in_a_live_copy",
        "a_key_that_comes_back_to_a_node_that_was_read_already_is_compared",
        "a_limit_above_all_keys_copies_all_though_slots_move",
        "a_master_that_dies_at_the_last_look_of_a_live_copy_is_followed_by_its_replica",
        "a_master_that_dies_while_both_sides_are_compared_is_followed_by_its_replica",
    ),
    "test_names_file": (
        "a_list_that_grows_on_the_way_is_verified_as_far_as_it_was_copied",
        "a_list_that_is_removed_on_the_way_is_verified_as_it_was_copied",
        "a_list_that_is_replaced_on_the_way_is_verified_as_it_was_copied",
    ),
    "test_opaque_cursors": (
        "keys_count_once_where_workers_die_with_a_scanner_and_names_that_it_has_handed_up",
        "scanners_that_have_to_share_connections_do_not_wait_for_each_other",
    ),
    "test_options_pace": (
        "a_pass_that_begins_again_keeps_no_worker_waiting",
        "a_scanner_that_hands_out_keys_takes_no_part_of_the_rate",
        "progress_lines_say_which_limit_holds_the_copy_back",
        "what_a_dead_worker_had_half_done_is_counted_once",
    ),
    "test_ranges": ("servers_at_rest_whose_tables_still_grow_are_equal_however_many_ranges_are_asked_for",),
    "test_replicas": (
        "a_replica_is_reached_where_a_map_says",
        "a_replica_of_the_master_that_was_named_is_read_and_compared",
        "a_replica_that_was_named_is_read_itself",
    ),
    "test_replicas_changing": (
        "a_comparison_waits_for_a_slot_that_is_half_moved_and_removes_nothing",
        "a_link_that_comes_back_where_it_was_costs_nothing",
        "a_replica_in_a_cluster_that_is_synchronised_anew_is_read_again_alone",
        "a_replica_that_is_synchronised_anew_is_read_again",
        "in_the_place_of_a_replica_that_is_gone_another_is_read",
    ),
    "test_replicas_live": (
        "a_cluster_is_followed_at_its_replicas_while_slots_move",
        "a_replica_of_a_replica_that_is_behind_does_not_let_a_copy_converge",
    ),
    "test_replies": ("byte_by_byte",),
    "test_rules": ("a_busy_old_source_tells_expiries_to_the_few_milliseconds",),
    "test_rules_proof": ("a_database_that_a_restarted_source_has_no_more_is_compared_all_the_same",),
    "test_signals": (
        "a_worker_that_is_silent_for_too_long_counts_as_dead",
        "nohup_lets_a_copy_outlive_its_terminal",
    ),
    "test_splicing": ("with_and_without_the_part_in_c_a_comparison_says_the_same",),
    "test_support_clusters": ("a_cluster_has_what_it_should_and_a_replica_takes_the_place_of_a_killed_master",),
    "test_support_sentinels": ("a_master_that_falls_is_replaced",),
    "test_tls": ("clusters_are_read_and_written_by_tls",),
    "test_undo": (
        "a_change_whose_answer_never_comes_is_put_back",
        "a_source_at_a_relative_path_is_changed_and_put_back",
    ),
    "test_undo_left": (
        "a_run_that_wants_another_value_than_one_before_it_goes_on_without",
        "of_two_live_copies_the_last_one_switches_notifications_off",
    ),
    "test_weather": (
        "a_connection_that_was_killed_is_not_killed_again_by_all_that_follow",
        "a_long_link_that_breaks_costs_no_key",
        "a_source_that_is_restarted_with_its_data_is_copied_from_the_beginning",
        "a_storm_costs_no_key",
        "a_target_that_closes_idle_connections_is_not_away",
        "a_target_that_is_restarted_empty_is_filled_again",
        "bytes_of_a_connection_are_not_executed_though_the_target_is_busy_when_the_next_one_comes",
        "losses_far_apart_are_no_long_one_where_all_keys_are_left_as_they_are",
    ),
}


def leave_out(items: list[pytest.Item]) -> None:
    """Mark what is not in this run as `soak`."""
    _leave_tests_out(items)
    _leave_versions_out(items)
    _leave_cases_out(items)


def _leave_tests_out(items: list[pytest.Item]) -> None:
    for item in items:
        if _test(item).removeprefix("test_") in SOAK_ONLY.get(item.path.stem, ()):
            item.add_marker(pytest.mark.soak)


def _leave_versions_out(items: list[pytest.Item]) -> None:
    """Of tests that are made on several: each test of a file begins with another version."""
    alike: dict[tuple[str, str], list[pytest.Item]] = {}
    for item in items:
        call = getattr(item, "callspec", None)
        made_on_each = call and call.params.get("kind") in KINDS and item.path.stem not in EVERY_VERSION
        if made_on_each and not item.get_closest_marker("soak"):
            rest = sorted((name, str(value)) for name, value in call.params.items() if name != "kind")
            alike.setdefault((item.path.stem, f"{_test(item)} {rest}"), []).append(item)
    turns: Counter[str] = Counter()
    for (file, _), cases in alike.items():
        turns[file] += 1
        for item in cases[turns[file] % 2 :: 2][: len(cases) // 2]:
            item.add_marker(pytest.mark.soak)


def _leave_cases_out(items: list[pytest.Item]) -> None:
    cases: dict[tuple[int, str], list[pytest.Item]] = {}
    for item in items:
        name = f"{item.path.stem}::{_test(item)}"
        part = IN_PART.get(name) or IN_PART.get(item.path.stem)
        if part and hasattr(item, "callspec") and not item.get_closest_marker("soak"):
            cases.setdefault((part, name), []).append(item)
    for (part, _), alike in cases.items():
        alike.sort(key=lambda item: crc32(item.name.encode()))
        for item in alike[-(-len(alike) // part) :]:
            item.add_marker(pytest.mark.soak)


def _test(item: pytest.Item) -> str:
    """The name of the test without its case."""
    return item.originalname if isinstance(item, pytest.Function) and item.originalname else item.name
